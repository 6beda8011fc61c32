#include "tests/fake_cuda/nccl/standin.h"

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "fake_cuda/queue.h"
#include "tests/fake_cuda/nccl/clique.h"

namespace beaverpond {

namespace fake_nccl {
namespace {

using nccl::Comm;
using nccl::DataType;
using nccl::Status;

using Place = std::pair<int, int>;  // rank, call

struct Group {
  std::vector<std::shared_ptr<Part>> parts;
  cudaStream_t stream = nullptr;
};

}  // namespace
}  // namespace fake_nccl

struct nccl::CommTag {
  std::shared_ptr<fake_nccl::Clique> clique;
  int rank = 0;
  int ranks = 0;
  Status state = Status::kInProgress;  ///< of the call under way, or the last failure
  int polls_left = 0;
  bool finalized = false;
  int calls = fake_nccl::kInit;  ///< number of the call under way or made last
  std::uint64_t round = 0;
  fake_nccl::Group group;  ///< made but not on the stream
};

namespace fake_nccl {
namespace {

/// All state of the stand-in but that of cliques. Locks are taken in this order: this one, the
/// runtime's, a clique's.
struct World {
  std::mutex mutex;
  std::condition_variable released;
  Faults faults;
  std::map<Place, Status> failures;
  std::set<Place> never_arriving;
  std::set<Place> miscounted;
  std::set<int> hanging;
  std::vector<std::string> misuse;
  int calls = 0;
  int aborts = 0;
  int destroys = 0;
  std::uint64_t next_id = 1;
  std::map<std::uint64_t, std::shared_ptr<Clique>> cliques;
  std::set<Comm> live;
  std::string last_error;
};

World& world() {
  // Never destroyed: a helper thread may still hang in an abort when the process ends.
  static auto* const instance = new World;
  return *instance;
}

Status misused(World& w, const std::string& what) {
  w.misuse.push_back(what);
  w.last_error = what;
  return Status::kInvalidUsage;
}

thread_local int group_depth = 0;
thread_local std::map<Comm, Group> open_groups;

Status get_version(int* version) {
  World& w = world();
  const std::scoped_lock lock(w.mutex);
  *version = w.faults.version;
  return Status::kSuccess;
}

Status get_unique_id(nccl::UniqueId* id) {
  World& w = world();
  const std::scoped_lock lock(w.mutex);
  *id = {};
  std::memcpy(id->bytes, &w.next_id, sizeof w.next_id);
  ++w.next_id;
  return Status::kSuccess;
}

Status init(Comm* out, int ranks, nccl::UniqueId id, int rank, nccl::Config* config) {
  World& w = world();
  const std::scoped_lock lock(w.mutex);
  *out = nullptr;
  std::uint64_t number = 0;
  std::memcpy(&number, id.bytes, sizeof number);
  if (number == 0 || number >= w.next_id) return misused(w, "init with an id that nobody made");
  if (config == nullptr || config->magic != 0xcafebeef || config->blocking != 0) {
    return misused(w, "init without a configuration, or a blocking one");
  }
  auto& clique = w.cliques[number];
  if (clique == nullptr) clique = std::make_shared<Clique>(ranks);
  auto comm = std::make_unique<nccl::CommTag>();
  comm->ranks = ranks;
  comm->polls_left = w.faults.polls;
  comm->clique = clique;
  comm->rank = rank;
  if (!w.never_arriving.contains({rank, kInit})) {
    int device = -1;
    if (cudaGetDevice(&device) != cudaSuccess) return Status::kUnhandledCudaError;
    const std::scoped_lock clique_lock(clique->mutex);
    clique->devices[static_cast<std::size_t>(rank)] = device;
    ++clique->come;
  }
  *out = comm.release();
  w.live.insert(*out);
  return Status::kInProgress;
}

/// Whether init can end; failed where two ranks have one device.
Status finish_init(World& w, nccl::CommTag& comm) {
  Clique& clique = *comm.clique;
  const std::scoped_lock lock(clique.mutex);
  if (clique.come < comm.ranks) return Status::kInProgress;
  const int mine = clique.devices[static_cast<std::size_t>(comm.rank)];
  int sharing = 0;
  for (const int device : clique.devices) sharing += device == mine ? 1 : 0;
  if (sharing == 1 || w.faults.ranks_may_share_a_gpu) return Status::kSuccess;
  w.last_error = "Duplicate GPU detected";
  return Status::kInvalidUsage;
}

/// Puts the call on its stream, as NCCL's own thread would at some time. The first call of a
/// communicator connects the ranks, so it waits for all.
Status finish_call(World& w, nccl::CommTag& comm) {
  const std::shared_ptr<Clique> clique = comm.clique;
  if (comm.calls == 0) {
    const std::scoped_lock lock(clique->mutex);
    if (clique->first_calls < comm.ranks) return Status::kInProgress;
  }
  const Place place(comm.rank, comm.calls);
  const auto ticket = std::make_shared<Ticket>();
  ticket->rank = comm.rank;
  ticket->parts = std::exchange(comm.group.parts, {});
  ticket->first_round = comm.round;
  ticket->arrives = !w.never_arriving.contains(place);
  for (const std::shared_ptr<Part>& part : ticket->parts) {
    part->one_too_high = w.miscounted.contains(place);
    if (!part->is_message()) ++comm.round;
  }
  const cudaError_t status =
      fake_cuda::enqueue(comm.group.stream, {"NCCL call " + std::to_string(comm.calls),
                                             [clique, ticket] { return clique->ready(*ticket); },
                                             [clique, ticket] { clique->run(*ticket); }});
  return status == cudaSuccess ? Status::kSuccess : Status::kUnhandledCudaError;
}

Status get_async_error(Comm comm, Status* status) {
  World& w = world();
  const std::scoped_lock lock(w.mutex);
  if (!w.live.contains(comm)) return misused(w, "asked for the state of no communicator");
  if (comm->state == Status::kInProgress && --comm->polls_left <= 0) {
    comm->polls_left = 0;
    const auto failure = w.failures.find({comm->rank, comm->calls});
    if (failure != w.failures.end() && !comm->finalized) {
      comm->state = failure->second;
      w.last_error = "on request";
    } else if (comm->finalized) {
      comm->state = Status::kSuccess;
    } else {
      comm->state = comm->calls == kInit ? finish_init(w, *comm) : finish_call(w, *comm);
    }
  }
  *status = comm->state;
  return Status::kSuccess;
}

Status end_group() {
  World& w = world();
  const std::scoped_lock lock(w.mutex);
  if (group_depth == 0) return misused(w, "a group ends that was not started");
  if (--group_depth > 0) return Status::kSuccess;
  std::map<Comm, Group> groups = std::exchange(open_groups, {});
  for (auto& [comm, group] : groups) {
    comm->group = std::move(group);
    comm->state = Status::kInProgress;
    comm->polls_left = w.faults.polls;
    if (++comm->calls == 0) {
      const std::scoped_lock clique_lock(comm->clique->mutex);
      ++comm->clique->first_calls;
    }
  }
  return groups.empty() ? Status::kSuccess : Status::kInProgress;
}

Status start_group() {
  ++group_depth;
  return Status::kSuccess;
}

Status add(Comm comm, const Part& part, cudaStream_t stream) {
  (void)start_group();
  Status status = Status::kSuccess;
  {
    World& w = world();
    const std::scoped_lock lock(w.mutex);
    if (!w.live.contains(comm)) {
      status = misused(w, "a call on no communicator");
    } else if (comm->state != Status::kSuccess || comm->finalized) {
      status = misused(w, "a call before the one before it was taken");
    } else {
      Group& group = open_groups[comm];
      if (!group.parts.empty() && group.stream != stream) {
        status = misused(w, "two streams in one group: allowed, but not needed here");
      }
      ++w.calls;
      group.stream = stream;
      group.parts.push_back(std::make_shared<Part>(part));
    }
  }
  const Status ended = end_group();
  return status == Status::kSuccess ? ended : status;
}

std::size_t size_of(DataType type) {
  return type == DataType::kUint64 ? 8 : 1;
}

Status all_reduce(const void* in, void* out, std::size_t count, DataType type, nccl::RedOp,
                  Comm comm, cudaStream_t stream) {
  if (type != DataType::kUint64) return Status::kInvalidArgument;
  return add(comm, {Part::Kind::kSum, in, out, count * 8, 0}, stream);
}
Status all_gather(const void* in, void* out, std::size_t count, DataType type, Comm comm,
                  cudaStream_t stream) {
  return add(comm, {Part::Kind::kGather, in, out, count * size_of(type), 0}, stream);
}
Status broadcast(const void* in, void* out, std::size_t count, DataType type, int root, Comm comm,
                 cudaStream_t stream) {
  return add(comm, {Part::Kind::kBroadcast, in, out, count * size_of(type), root}, stream);
}
Status send(const void* in, std::size_t count, DataType type, int to, Comm comm,
            cudaStream_t stream) {
  return add(comm, {Part::Kind::kSend, in, nullptr, count * size_of(type), to}, stream);
}
Status receive(void* out, std::size_t count, DataType type, int from, Comm comm,
               cudaStream_t stream) {
  return add(comm, {Part::Kind::kReceive, nullptr, out, count * size_of(type), from}, stream);
}

Status finalize(Comm comm) {
  World& w = world();
  const std::scoped_lock lock(w.mutex);
  if (!w.live.contains(comm)) return misused(w, "finalize of no communicator");
  if (comm->state != Status::kSuccess) return misused(w, "finalize amid a call");
  comm->finalized = true;
  comm->state = Status::kInProgress;
  comm->polls_left = w.faults.polls;
  return Status::kInProgress;
}

Status destroy(Comm comm) {
  World& w = world();
  const std::scoped_lock lock(w.mutex);
  if (!w.live.contains(comm)) return misused(w, "destroy of no communicator");
  if (!comm->finalized) return misused(w, "destroy without finalize");
  ++w.destroys;
  w.live.erase(comm);
  delete comm;
  return Status::kSuccess;
}

Status abort_communicator(Comm comm) {
  World& w = world();
  std::unique_lock lock(w.mutex);
  if (!w.live.contains(comm)) return misused(w, "abort of no communicator");
  ++w.aborts;
  const std::shared_ptr<Clique> clique = comm->clique;
  const int rank = comm->rank;
  w.live.erase(comm);
  delete comm;
  w.released.wait(lock, [&] { return !w.hanging.contains(rank); });
  lock.unlock();
  clique->stop(rank);
  fake_cuda::notify();
  return Status::kSuccess;
}

const char* error_string(Status status) {
  switch (status) {
    case Status::kSuccess: return "no error";
    case Status::kRemoteError: return "remote process exited or there was a network error";
    case Status::kSystemError: return "unhandled system error";
    case Status::kInvalidUsage: return "invalid usage";
    case Status::kUnhandledCudaError: return "unhandled cuda error";
    default: return "another error";
  }
}

const char* last_error(Comm) {
  thread_local std::string text;
  World& w = world();
  const std::scoped_lock lock(w.mutex);
  text = w.last_error;
  return text.c_str();
}

}  // namespace

const nccl::Api& api() {
  static const nccl::Api table{
      .get_version = get_version,
      .get_unique_id = get_unique_id,
      .comm_init_rank_config = init,
      .comm_finalize = finalize,
      .comm_destroy = destroy,
      .comm_abort = abort_communicator,
      .comm_get_async_error = get_async_error,
      .get_error_string = error_string,
      .get_last_error = last_error,
      .group_start = start_group,
      .group_end = end_group,
      .all_reduce = all_reduce,
      .all_gather = all_gather,
      .broadcast = broadcast,
      .send = send,
      .recv = receive,
  };
  return table;
}

void configure(const Faults& faults) {
  const std::scoped_lock lock(world().mutex);
  world().faults = faults;
}

void fail(int rank, int call, Status status) {
  const std::scoped_lock lock(world().mutex);
  world().failures[{rank, call}] = status;
}

void never_arrive(int rank, int call) {
  const std::scoped_lock lock(world().mutex);
  world().never_arriving.insert({rank, call});
}

void miscount(int rank, int call) {
  const std::scoped_lock lock(world().mutex);
  world().miscounted.insert({rank, call});
}

void hang_aborts(int rank) {
  const std::scoped_lock lock(world().mutex);
  world().hanging.insert(rank);
}

void release_aborts() {
  const std::scoped_lock lock(world().mutex);
  world().hanging.clear();
  world().released.notify_all();
}

void reset() {
  release_aborts();
  World& w = world();
  const std::scoped_lock lock(w.mutex);
  w.faults = {};
  w.failures.clear();
  w.never_arriving.clear();
  w.miscounted.clear();
  w.misuse.clear();
  w.last_error.clear();
  w.cliques.clear();
  w.calls = w.aborts = w.destroys = 0;
}

std::vector<std::string> misuse() {
  World& w = world();
  const std::scoped_lock lock(w.mutex);
  std::vector<std::string> all = w.misuse;
  for (const auto& [id, clique] : w.cliques) {
    for (std::string& mismatch : clique->mismatches()) all.push_back(std::move(mismatch));
  }
  return all;
}

int live_communicators() {
  const std::scoped_lock lock(world().mutex);
  return static_cast<int>(world().live.size());
}

int calls() {
  const std::scoped_lock lock(world().mutex);
  return world().calls;
}

int aborts() {
  const std::scoped_lock lock(world().mutex);
  return world().aborts;
}

int destroys() {
  const std::scoped_lock lock(world().mutex);
  return world().destroys;
}

}  // namespace fake_nccl

Result<const nccl::Api*> nccl::load() {
  return &fake_nccl::api();
}

}  // namespace beaverpond
