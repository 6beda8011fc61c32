#include "online/transport/nccl/lane.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "kernels/cuda/pauses.h"
#include "kernels/cuda/xor_parts.h"
#include "online/transport/nccl/closer.h"

namespace beaverpond::nccl {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Clock = steady_clock;

bool is_point_to_point(const Work& work) {
  return work.call.kind == Call::Kind::kSend || work.call.kind == Call::Kind::kReceive;
}

/// Ends a communicator on the helper thread: in order if that can be had in time, else by force.
void close_in_order(const Api& api, Comm comm, milliseconds bound) {
  const Clock::time_point deadline = Clock::now() + bound;
  Status status = api.comm_finalize(comm);
  while (status == Status::kSuccess || status == Status::kInProgress) {
    Status now = Status::kInternalError;
    if (api.comm_get_async_error(comm, &now) != Status::kSuccess) break;
    if (now == Status::kSuccess) {
      api.comm_destroy(comm);
      return;
    }
    if (now != Status::kInProgress || Clock::now() >= deadline) break;
    std::this_thread::sleep_for(milliseconds(1));
  }
  api.comm_abort(comm);
}

ErrorCode code_of(Status status) {
  switch (status) {
    case Status::kRemoteError: return ErrorCode::kPeerLost;
    case Status::kSystemError: return ErrorCode::kIo;
    case Status::kInvalidArgument:
    case Status::kInvalidUsage: return ErrorCode::kConfig;
    default: return ErrorCode::kDeviceFailed;
  }
}

}  // namespace

std::optional<Error> Fabric::failure() const {
  const std::scoped_lock lock(mutex_);
  return failure_;
}

Error Fabric::fail(const Error& error) {
  const std::scoped_lock lock(mutex_);
  if (!failure_.has_value()) failure_ = error;
  return *failure_;
}

std::optional<Error> Fabric::lost_player() const {
  for (int player = 0; player < control.size(); ++player) {
    if (player == control.rank()) continue;
    if (std::optional<Error> error = control.obstacle(player)) return error;
  }
  return std::nullopt;
}

Error Fabric::error_of_blocking(Status status, Comm comm, const std::string& what) const {
  // Before anything else is asked of NCCL: the text is that of its last failure.
  const char* last = api.get_last_error(comm);
  const std::string detail = last == nullptr || *last == '\0' ? "" : std::string(" (") + last + ")";
  if (status == Status::kRemoteError || status == Status::kSystemError) {
    const Clock::time_point deadline = Clock::now() + options.blame_timeout;
    cuda::Pauses pauses;
    do {
      if (std::optional<Error> lost = lost_player()) return *lost;
      pauses.pause();
    } while (Clock::now() < deadline);
  }
  Error error = make_error(code_of(status),
                           what + ": NCCL says '" + api.get_error_string(status) + "'" + detail +
                               "; start the players with NCCL_DEBUG=WARN to see why, or use "
                               "--transport tls");
  if (status == Status::kRemoteError && control.size() == 2) error.player = 1 - control.rank();
  return error;
}

/// Decides when a wait has been long enough.
class Lane::Patience {
 public:
  Patience(const Fabric& fabric, Deadline deadline, const std::string& what)
      : fabric_(fabric), deadline_(deadline), what_(what) {}

  /// Waits a little. The reason to give up, if there is one.
  std::optional<Error> pause() {
    if (std::optional<Error> error = fabric_.failure()) return error;
    const Clock::time_point now = Clock::now();
    if (now >= deadline_) return late();
    if (!pauses_.pause()) return std::nullopt;
    if (lost_.has_value()) return now >= give_up_ ? lost_ : std::nullopt;
    lost_ = fabric_.lost_player();
    give_up_ = now + fabric_.options.loss_grace;
    return std::nullopt;
  }

 private:
  Error late() const {
    if (lost_.has_value()) return *lost_;
    Error error =
        make_error(ErrorCode::kTimeout,
                   what_ +
                       " was not done over NCCL before the deadline, although all players are "
                       "connected; the one that is behind says why in its own output");
    if (fabric_.control.size() == 2) error.player = 1 - fabric_.control.rank();
    return error;
  }

  const Fabric& fabric_;
  const Deadline deadline_;
  const std::string& what_;
  cuda::Pauses pauses_;
  std::optional<Error> lost_;
  Clock::time_point give_up_;
};

Result<std::shared_ptr<Lane>> Lane::create_blocking(Fabric& fabric, const UniqueId& id,
                                                    Deadline deadline) {
  BP_ASSIGN(cuda::Stream stream, fabric.pool.make_stream());
  std::shared_ptr<Lane> lane(new Lane(fabric, std::move(stream)));
  BP_TRY(lane->connect_blocking(id, deadline));
  BP_TRY(lane->greet_blocking(deadline));
  return lane;
}

Lane::~Lane() {
  if (comm_ == nullptr) return;
  const milliseconds bound = fabric_.options.abort_timeout;
  (void)run_within([api = fabric_.api, comm = std::exchange(comm_, nullptr),
                    bound] { close_in_order(api, comm, bound / 2); },
                   bound);
}

Result<void> Lane::connect_blocking(const UniqueId& id, Deadline deadline) {
  BP_TRY(cuda::use_device(fabric_.options.device));
  const std::string what = "connecting by NCCL";
  Config config;
  config.blocking = 0;
  Status status = fabric_.api.comm_init_rank_config(&comm_, fabric_.control.size(), id,
                                                    fabric_.control.rank(), &config);
  Patience patience(fabric_, deadline, what);
  while (status == Status::kSuccess || status == Status::kInProgress) {
    Status now = Status::kInternalError;
    status = fabric_.api.comm_get_async_error(comm_, &now);
    if (status == Status::kSuccess) status = now;
    if (status == Status::kSuccess) return {};
    if (status != Status::kInProgress) break;
    if (std::optional<Error> error = patience.pause()) return give_up(*std::move(error));
  }
  return give_up(fabric_.error_of_blocking(status, comm_, what));
}

/// The first operation makes the connections, so it is one of ours; and it shows that sums come
/// out right.
Result<void> Lane::greet_blocking(Deadline deadline) {
  const auto players = static_cast<std::uint64_t>(fabric_.control.size());
  BP_ASSIGN(const Buffer word, fabric_.pool.allocate_scratch(ByteCount{8}, stream_.get()));
  const std::uint64_t mine = static_cast<std::uint64_t>(fabric_.control.rank()) + 1;
  BP_TRY(cuda::check(
      cudaMemcpyAsync(word.bytes().data(), &mine, 8, cudaMemcpyHostToDevice, stream_.get()),
      "cannot copy to the device"));
  BP_TRY(stream_.synchronize_blocking());
  const Call call{Call::Kind::kSum, word.words().data(), word.words().data(), 1, 0};
  BP_ASSIGN(const std::shared_ptr<Work> work, start(call, "the first sum", stream_.ref()));
  BP_TRY(finish_blocking(work, deadline));
  std::uint64_t sum = 0;
  // The sum is there: the copies, from and to memory of this thread, wait for nothing else.
  BP_TRY(cuda::check(
      cudaMemcpyAsync(&sum, word.bytes().data(), 8, cudaMemcpyDeviceToHost, stream_.get()),
      "cannot copy from the device"));
  BP_TRY(stream_.synchronize_blocking());
  if (sum == players * (players + 1) / 2) return {};
  return give_up(make_error(ErrorCode::kProtocolMismatch,
                            "the first sum over NCCL is " + std::to_string(sum) + " instead of " +
                                std::to_string(players * (players + 1) / 2) +
                                "; the players' links or GPUs are faulty: use --transport tls"));
}

Result<std::shared_ptr<Work>> Lane::start(const Call& call, std::string what, StreamRef stream) {
  if (std::optional<Error> error = fabric_.failure()) return give_up(*std::move(error));
  if (Result<void> used = cuda::use_device(fabric_.options.device); !used.ok()) {
    return give_up(used.error());
  }
  Result<std::shared_ptr<Work>> work = queue(call, std::move(what), stream);
  if (!work.ok()) return give_up(work.error());
  if (Result<void> result = advance(false); !result.ok()) return give_up(result.error());
  return work;
}

Result<std::shared_ptr<Work>> Lane::queue(const Call& call, std::string what, StreamRef stream) {
  auto work = std::make_shared<Work>();
  work->call = call;
  work->what = std::move(what);
  if (stream.handle == nullptr) stream = fabric_.options.host_stream;
  if (stream.handle != nullptr) {
    BP_ASSIGN(work->before, cuda::Event::create());
    BP_TRY(work->before->record(static_cast<cudaStream_t>(stream.handle)));
  }
  if (call.kind == Call::Kind::kXor) {
    const auto players = static_cast<std::uint64_t>(fabric_.control.size());
    BP_ASSIGN(work->parts,
              fabric_.pool.allocate_scratch(ByteCount{call.count * 8 * players}, stream_.get()));
  }
  queue_.push_back(work);
  return work;
}

Result<void> Lane::finish_blocking(const std::shared_ptr<Work>& work, Deadline deadline) {
  if (Result<void> used = cuda::use_device(fabric_.options.device); !used.ok()) {
    return give_up(used.error());
  }
  Patience patience(fabric_, deadline, work->what);
  for (;;) {
    if (comm_ == nullptr) return *fabric_.failure();  // nothing else ends it while it is in use
    if (Result<void> result = advance(true); !result.ok()) return give_up(result.error());
    if (work->ended != nullptr) {
      const Result<bool> done = work->ended->done();
      if (!done.ok()) return give_up(done.error());
      if (*done) return {};
    }
    if (std::optional<Error> error = patience.pause()) return give_up(*std::move(error));
  }
}

/// Goes on as far as that is possible without waiting. Sends and receives at the front wait for
/// more of their kind until somebody waits for them: apart, a ring of players that first send and
/// then receive would never end.
Result<void> Lane::advance(bool awaited) {
  Status now = Status::kInternalError;
  Status status = fabric_.api.comm_get_async_error(comm_, &now);
  if (status == Status::kSuccess) status = now;
  for (;;) {
    if (status == Status::kInProgress) return {};
    if (status != Status::kSuccess) {
      const std::string what = !issued_.empty()  ? issued_.front()->what
                               : !queue_.empty() ? queue_.front()->what
                                                 : "an operation under way";
      return fabric_.error_of_blocking(status, comm_, what);
    }
    BP_TRY(settle());
    if (queue_.empty() || (!awaited && is_point_to_point(*queue_.front()))) return {};
    BP_ASSIGN(status, issue());
  }
}

/// NCCL has put what was issued on the stream: what follows it, and a mark behind it.
Result<void> Lane::settle() {
  if (issued_.empty()) return {};
  for (const std::shared_ptr<Work>& work : issued_) {
    if (work->call.kind != Call::Kind::kXor) continue;
    BP_TRY(cuda::xor_parts(work->parts.words(), fabric_.control.size(),
                           {static_cast<std::uint64_t*>(work->call.out), work->call.count},
                           stream_.get()));
  }
  BP_ASSIGN(cuda::Event event, cuda::Event::create());
  BP_TRY(event.record(stream_.get()));
  const auto ended = std::make_shared<cuda::Event>(std::move(event));
  for (const std::shared_ptr<Work>& work : issued_) work->ended = ended;
  issued_.clear();
  return {};
}

/// The front of the queue as one group: a collective, or all sends and receives up to the next.
Result<Status> Lane::issue() {
  const bool alone = !is_point_to_point(*queue_.front());
  do {
    issued_.push_back(std::move(queue_.front()));
    queue_.pop_front();
  } while (!alone && !queue_.empty() && is_point_to_point(*queue_.front()));
  for (const std::shared_ptr<Work>& work : issued_) {
    if (!work->before.has_value()) continue;
    BP_TRY(work->before->wait_on(stream_.get()));
    work->before.reset();
  }
  Status status = fabric_.api.group_start();
  if (status != Status::kSuccess) return status;
  for (const std::shared_ptr<Work>& work : issued_) {
    status = make(*work);
    if (status != Status::kSuccess && status != Status::kInProgress) break;
  }
  const Status ended = fabric_.api.group_end();
  const bool calls_are_well = status == Status::kSuccess || status == Status::kInProgress;
  return calls_are_well ? ended : status;
}

Status Lane::make(const Work& work) {
  const Api& api = fabric_.api;
  const Call& call = work.call;
  cudaStream_t stream = stream_.get();
  switch (call.kind) {
    case Call::Kind::kSum:
      return api.all_reduce(call.in, call.out, call.count, DataType::kUint64, RedOp::kSum, comm_,
                            stream);
    case Call::Kind::kXor:
      return api.all_gather(call.in, work.parts.bytes().data(), call.count, DataType::kUint64,
                            comm_, stream);
    case Call::Kind::kGather:
      return api.all_gather(call.in, call.out, call.count, DataType::kUint8, comm_, stream);
    case Call::Kind::kBroadcast:
      return api.broadcast(call.in, call.out, call.count, DataType::kUint8, call.peer, comm_,
                           stream);
    case Call::Kind::kSend:
      return api.send(call.in, call.count, DataType::kUint8, call.peer, comm_, stream);
    case Call::Kind::kReceive:
      return api.recv(call.out, call.count, DataType::kUint8, call.peer, comm_, stream);
  }
  return Status::kInvalidUsage;
}

/// What stands behind NCCL's calls on the stream, such as the XOR of what was gathered, comes to
/// its turn when they are stopped, and writes to the callers' buffers.
bool Lane::drain_blocking() {
  const Clock::time_point deadline = Clock::now() + fabric_.options.abort_timeout;
  cuda::Pauses pauses;
  while (cudaStreamQuery(stream_.get()) == cudaErrorNotReady) {
    if (Clock::now() >= deadline) return false;
    pauses.pause();
  }
  (void)cudaGetLastError();  // of a device that failed: nothing runs there any more
  return true;
}

/// The end of this communicator: whatever runs on the device is stopped, so that the callers'
/// buffers are theirs again.
Error Lane::give_up(Error error) {
  error = fabric_.fail(error);
  if (comm_ == nullptr) return error;
  const bool ended = run_within(
      [api = fabric_.api, comm = std::exchange(comm_, nullptr)] { (void)api.comm_abort(comm); },
      fabric_.options.abort_timeout);
  queue_.clear();
  issued_.clear();
  const std::string limit = std::to_string(fabric_.options.abort_timeout.count()) + " ms";
  if (!ended) {
    error.message +=
        "; NCCL's abort did not return in " + limit + " and is left behind: end this process soon";
  } else if (!drain_blocking()) {
    error.message +=
        "; the GPU did not come to rest in " + limit + " after NCCL's abort: end this process soon";
  }
  return error;
}

}  // namespace beaverpond::nccl
