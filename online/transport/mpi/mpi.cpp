#include "online/transport/mpi/mpi.h"

#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "online/transport/buffer.h"
#include "online/transport/frame.h"
#include "online/transport/mpi/runtime.h"

namespace beaverpond {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// Tag.operation of the hellos, in session 0: far from those of programs and sessions.
constexpr std::uint32_t kHelloOperation = 0xfffd0000u;
constexpr std::uint32_t kStartedOperation = 0xfffd0001u;

/// Neither MPI nor the system announces that a message has come, and MPI gets on only while it is
/// asked: at once while an answer is likely, then with short pauses. Between processes of one host
/// Open MPI sends a large message in fragments (32 KiB unless told otherwise) and each needs a
/// question, so while it may take at a slow pace there are no pauses.
class Pauses {
 public:
  /// For a message of so many bytes.
  explicit Pauses(std::size_t bytes)
      : busy_(std::chrono::milliseconds(2) + std::chrono::nanoseconds(bytes * kSlowNanoseconds)) {}

  void pause() {
    const auto waited = Clock::now() - start_;
    if (waited < busy_) return;  // MPI gives the core away itself, where mpirun told it to
    std::this_thread::sleep_for(
        std::min<Clock::duration>(waited / 64, std::chrono::microseconds(250)));
  }

 private:
  static constexpr std::size_t kSlowNanoseconds = 10;  ///< for a byte: 100 MB/s

  const Clock::duration busy_;
  const Clock::time_point start_ = Clock::now();
};

constexpr int kQuestionsAtOnce = 64;

/// A collective under way, in buffers that MPI may use for as long as it likes.
struct Work {
  MPI_Request request = MPI_REQUEST_NULL;
  MessageBuffer in;
  MessageBuffer out;               ///< of a gather
  std::span<std::uint8_t> result;  ///< the caller's
  std::string what;
};

/// What MPI may still use after a failure; never freed, since nobody can know when it stops.
void keep_for_ever(Work work) {
  static auto* const kept = new std::vector<Work>;
  static auto* const mutex = new std::mutex;
  const std::scoped_lock lock(*mutex);
  kept->push_back(std::move(work));
}

class Ready final : public Operation::Pending {
 public:
  explicit Ready(Result<void> result) : result_(std::move(result)) {}
  Result<void> wait(Deadline /*deadline*/) override { return result_; }

 private:
  Result<void> result_;
};

class MpiTransport final : public Transport {
 public:
  MpiTransport(Transport& control, const MpiOptions& options)
      : control_(control), options_(options) {}

  ~MpiTransport() override {
    // After a failure players would wait for each other there until somebody ends them.
    if (!started_ || failure().has_value()) return;
    (void)mpi::finalize_blocking(
        Clock::now() + options_.finalize_timeout, [this] { return lost_player().has_value(); },
        milliseconds(2'000));
  }

  int rank() const override { return control_.rank(); }
  int size() const override { return control_.size(); }
  std::string name() const override { return "mpi"; }
  std::optional<Error> obstacle(int peer) override { return control_.obstacle(peer); }

  TransportStats stats() const override {
    TransportStats stats = control_.stats();
    stats.sent_bytes += sent_bytes_.load(std::memory_order_relaxed);
    stats.received_bytes += received_bytes_.load(std::memory_order_relaxed);
    return stats;
  }

  Operation start_all_reduce(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                             StreamRef /*stream*/) override {
    const std::span<std::uint8_t> bytes{reinterpret_cast<std::uint8_t*>(words.data()),
                                        words.size_bytes()};
    const std::uint64_t moved = 2 * others() * bytes.size() / static_cast<std::uint64_t>(size());
    return start(bytes, bytes, tag, {moved, moved}, [&](Work& work) {
      return MPI_Iallreduce(MPI_IN_PLACE, work.in.bytes().data(), static_cast<int>(words.size()),
                            MPI_UINT64_T, op == ReduceOp::kSum ? MPI_SUM : MPI_BXOR, MPI_COMM_WORLD,
                            &work.request);
    });
  }
  Operation start_all_gather(std::span<const std::uint8_t> mine, std::span<std::uint8_t> all,
                             const Tag& tag, StreamRef /*stream*/) override {
    BP_CHECK(all.size() == mine.size() * static_cast<std::size_t>(size()),
             "all_gather: `all` holds one part per player");
    const std::uint64_t moved = others() * mine.size();
    return start(mine, all, tag, {moved, moved}, [&](Work& work) {
      const int count = static_cast<int>(mine.size());
      work.out = buffers_.take(all.size());
      return MPI_Iallgather(work.in.bytes().data(), count, MPI_BYTE, work.out.bytes().data(), count,
                            MPI_BYTE, MPI_COMM_WORLD, &work.request);
    });
  }
  Operation start_broadcast(int root, std::span<std::uint8_t> bytes, const Tag& tag,
                            StreamRef /*stream*/) override {
    const TransportStats moved =
        root == rank() ? TransportStats{bytes.size(), 0} : TransportStats{0, bytes.size()};
    return start(bytes, bytes, tag, moved, [&](Work& work) {
      return MPI_Ibcast(work.in.bytes().data(), static_cast<int>(bytes.size()), MPI_BYTE, root,
                        MPI_COMM_WORLD, &work.request);
    });
  }
  Operation start_send(int to, std::span<const std::uint8_t> bytes, const Tag& tag,
                       StreamRef stream) override {
    return control_.start_send(to, bytes, tag, stream);
  }
  Operation start_recv(int from, std::span<std::uint8_t> bytes, const Tag& tag,
                       StreamRef stream) override {
    return control_.start_recv(from, bytes, tag, stream);
  }
  Result<std::vector<std::vector<std::uint8_t>>> all_gather_messages_blocking(
      std::span<const std::uint8_t> mine, const Tag& tag, Deadline deadline) override {
    return control_.all_gather_messages_blocking(mine, tag, deadline);
  }

  /// Starts MPI together with the others. Errors: as connect_mpi_blocking().
  Result<void> connect_blocking(Deadline deadline) {
    BP_TRY(
        meet_blocking(kHelloOperation, mpi::check_started_by_launcher(rank(), size()), deadline));
    Result<void> started = mpi::start_blocking(deadline, [this] { return lost_player(); });
    started_ = started.ok();
    if (started.ok()) started = check_world();
    BP_TRY(meet_blocking(kStartedOperation, started, deadline));
    return greet_blocking(deadline);
  }

 private:
  class OnMpi final : public Operation::Pending {
   public:
    OnMpi(MpiTransport& transport, Work work) : transport_(transport), work_(std::move(work)) {}
    Result<void> wait(Deadline deadline) override {
      return transport_.finish_blocking(std::move(work_), deadline);
    }

   private:
    MpiTransport& transport_;
    Work work_;
  };

  std::optional<Error> failure() const {
    const std::scoped_lock lock(mutex_);
    return failure_;
  }
  /// Keeps the first and returns it.
  Error fail(const Error& error) {
    const std::scoped_lock lock(mutex_);
    if (!failure_.has_value()) failure_ = error;
    return *failure_;
  }
  /// Whom the control connection has lost, if anybody: MPI itself never says.
  std::optional<Error> lost_player() const {
    for (int player = 0; player < size(); ++player) {
      if (player == rank()) continue;
      if (std::optional<Error> error = control_.obstacle(player)) return error;
    }
    return std::nullopt;
  }

  /// Whoever cannot go on says so to the others, who would wait for it.
  Result<void> meet_blocking(std::uint32_t operation, const Result<void>& mine, Deadline deadline) {
    const Tag tag{.lane = options_.lane, .operation = operation};
    const std::string text = mine.ok() ? "" : mine.error().message;
    const auto messages = control_.all_gather_messages_blocking(
        {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, tag, deadline);
    if (!mine.ok()) return mine;
    if (!messages.ok()) return messages.error();
    for (std::size_t player = 0; player < messages->size(); ++player) {
      std::string theirs;
      for (const std::uint8_t c : (*messages)[player]) {
        if (theirs.size() < 1000) theirs += c >= 0x20 && c < 0x7f ? static_cast<char>(c) : '?';
      }
      if (theirs.empty()) continue;
      Error error = make_error(ErrorCode::kConfig,
                               "player " + std::to_string(player) + " cannot use MPI: " + theirs);
      error.player = static_cast<int>(player);
      return error;
    }
    return {};
  }

  Result<void> check_world() const {
    int world_rank = -1;
    int world_size = 0;
    const std::scoped_lock lock(mpi::calls());
    MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &world_size);
    if (world_rank == rank() && world_size == size()) return {};
    return make_error(ErrorCode::kConfig,
                      "MPI says that this is process " + std::to_string(world_rank) + " of " +
                          std::to_string(world_size) + ", the roster player " +
                          std::to_string(rank()) + " of " + std::to_string(size()) +
                          "; start all players by one mpirun or srun, in the order of the roster");
  }

  /// The first sum shows that messages come through and come out right.
  Result<void> greet_blocking(Deadline deadline) {
    std::uint64_t word = static_cast<std::uint64_t>(rank()) + 1;
    const Tag tag{.lane = options_.lane, .operation = kStartedOperation};
    BP_TRY(start_all_reduce({&word, 1}, ReduceOp::kSum, tag, kHostStream).wait(deadline));
    const auto players = static_cast<std::uint64_t>(size());
    if (word == players * (players + 1) / 2) return {};
    return fail(make_error(ErrorCode::kProtocolMismatch,
                           "the first sum over MPI is " + std::to_string(word) + " instead of " +
                               std::to_string(players * (players + 1) / 2) +
                               "; use --transport tls"));
  }

  std::uint64_t others() const { return static_cast<std::uint64_t>(size()) - 1; }

  /// MPI does not tell what it sends: `moved` is what a ring moves.
  template <class Call>
  Operation start(std::span<const std::uint8_t> in, std::span<std::uint8_t> result, const Tag& tag,
                  const TransportStats& moved, Call call) {
    BP_CHECK(in.size() <= kMaxPayloadBytes, "a message has at most 1 GiB");
    if (std::optional<Error> error = failure()) return ready(during(*error, to_string(tag)));
    if (tag.lane != options_.lane) {
      return ready(make_error(ErrorCode::kConfig, "lane " + std::to_string(tag.lane) +
                                                      " of a transport whose MPI is "
                                                      "for lane " +
                                                      std::to_string(options_.lane)));
    }
    if (in.empty()) return ready({});
    Work work;
    work.result = result;
    work.what = to_string(tag);
    work.in = buffers_.take(in.size());
    std::memcpy(work.in.bytes().data(), in.data(), in.size());
    int status = MPI_SUCCESS;
    {
      const std::scoped_lock lock(mpi::calls());
      status = call(work);
    }
    if (status != MPI_SUCCESS) {
      Error error = fail(error_of_blocking(status, work.what));
      keep_for_ever(std::move(work));
      return ready(std::move(error));
    }
    sent_bytes_.fetch_add(moved.sent_bytes, std::memory_order_relaxed);
    received_bytes_.fetch_add(moved.received_bytes, std::memory_order_relaxed);
    return Operation(std::make_unique<OnMpi>(*this, std::move(work)));
  }

  static Operation ready(Result<void> result) {
    return Operation(std::make_unique<Ready>(std::move(result)));
  }
  static Error during(Error error, const std::string& what) {
    if (error.operation.empty()) error.operation = what;
    return error;
  }

  Result<void> finish_blocking(Work work, Deadline deadline) {
    const Result<void> waited = wait_blocking(work, deadline);
    if (!waited.ok()) {
      Error error = during(fail(waited.error()), work.what);
      keep_for_ever(std::move(work));
      return error;
    }
    MessageBuffer& from = work.out.size() == 0 ? work.in : work.out;
    std::memcpy(work.result.data(), from.bytes().data(), work.result.size());
    buffers_.give(std::move(work.in));
    buffers_.give(std::move(work.out));
    return {};
  }

  Result<void> wait_blocking(Work& work, Deadline deadline) {
    Pauses pauses(work.in.size());
    std::optional<Error> lost;
    Clock::time_point ask_again = Clock::now() + milliseconds(5);
    Clock::time_point give_up = deadline;
    for (;;) {
      if (std::optional<Error> error = failure()) return *error;
      int done = 0;
      int status = MPI_SUCCESS;
      for (int i = 0; i < kQuestionsAtOnce && done == 0 && status == MPI_SUCCESS; ++i) {
        const std::scoped_lock lock(mpi::calls());
        status = MPI_Test(&work.request, &done, MPI_STATUS_IGNORE);
      }
      if (status != MPI_SUCCESS) return error_of_blocking(status, work.what);
      if (done != 0) return {};
      const Clock::time_point now = Clock::now();
      if (now >= give_up) return lost.has_value() ? *lost : late(work.what);
      if (!lost.has_value() && now >= ask_again) {
        lost = lost_player();
        if (lost.has_value()) give_up = std::min(give_up, now + options_.loss_grace);
        ask_again = now + milliseconds(5);
      }
      pauses.pause();
    }
  }

  Error late(const std::string& what) const {
    Error error =
        make_error(ErrorCode::kTimeout,
                   what +
                       " was not done over MPI before the deadline, although all players "
                       "are connected; the one that is behind says why in its own output");
    if (size() == 2) error.player = 1 - rank();
    return error;
  }

  Error error_of_blocking(int status, const std::string& what) const {
    const Clock::time_point deadline = Clock::now() + options_.blame_timeout;
    Pauses pauses(0);
    do {
      if (std::optional<Error> lost = lost_player()) return *lost;
      pauses.pause();
    } while (Clock::now() < deadline);
    return make_error(ErrorCode::kIo, what + ": MPI says '" + mpi::text_of(status) +
                                          "'; see what mpirun says, or use --transport tls");
  }

  Transport& control_;
  const MpiOptions options_;
  bool started_ = false;
  BufferPool buffers_;
  mutable std::mutex mutex_;
  std::optional<Error> failure_;
  std::atomic<std::uint64_t> sent_bytes_ = 0;
  std::atomic<std::uint64_t> received_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<Transport>> connect_mpi_blocking(Transport& control,
                                                        const MpiOptions& options,
                                                        Deadline deadline) {
  BP_TRY(check_mpi_fabric(options.trusted_fabric));
  auto transport = std::make_unique<MpiTransport>(control, options);
  BP_TRY(transport->connect_blocking(deadline));
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace beaverpond
