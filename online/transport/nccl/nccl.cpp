#include "online/transport/nccl/nccl.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "online/transport/frame.h"
#include "online/transport/nccl/hello.h"
#include "online/transport/nccl/lane.h"

namespace beaverpond {
namespace {

using nccl::Call;
using nccl::Fabric;
using nccl::Lane;
using nccl::Work;
using std::chrono::steady_clock;

/// Scratch that stays with the transport between openings of bits.
constexpr ByteCount kKept{std::uint64_t{64} << 20};

/// How long players that share a GPU may try: most libraries refuse them on the spot.
constexpr std::chrono::seconds kSharedGpuTrial{5};

/// Whether `bytes` lie on a device.
Result<bool> on_device(std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) return false;
  cudaPointerAttributes attributes{};
  BP_TRY(cuda::check(cudaPointerGetAttributes(&attributes, bytes.data()),
                     "cannot tell where memory lies"));
  return attributes.type == cudaMemoryTypeDevice;
}

class Failed final : public Operation::Pending {
 public:
  explicit Failed(Error error) : error_(std::move(error)) {}
  Result<void> wait(Deadline /*deadline*/) override { return error_; }

 private:
  Error error_;
};

class OnLane final : public Operation::Pending {
 public:
  OnLane(std::shared_ptr<Lane> lane, std::shared_ptr<Work> work)
      : lane_(std::move(lane)), work_(std::move(work)) {}
  Result<void> wait(Deadline deadline) override {
    Result<void> result = lane_->finish_blocking(work_, deadline);
    if (result.ok()) return result;
    Error error = result.error();
    if (error.operation.empty()) error.operation = work_->what;
    return error;
  }

 private:
  std::shared_ptr<Lane> lane_;
  std::shared_ptr<Work> work_;
};

class NcclTransport final : public Transport {
 public:
  NcclTransport(Transport& control, std::unique_ptr<Fabric> fabric)
      : control_(control), fabric_(std::move(fabric)) {}

  int rank() const override { return control_.rank(); }
  int size() const override { return control_.size(); }
  std::string name() const override { return "nccl"; }
  MemoryKind memory() const override { return MemoryKind::kDevice; }
  std::optional<Error> obstacle(int peer) override { return control_.obstacle(peer); }

  TransportStats stats() const override {
    TransportStats stats = control_.stats();
    stats.sent_bytes += sent_bytes_.load(std::memory_order_relaxed);
    stats.received_bytes += received_bytes_.load(std::memory_order_relaxed);
    return stats;
  }

  Operation start_all_reduce(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                             StreamRef stream) override {
    const auto kind = op == ReduceOp::kSum ? Call::Kind::kSum : Call::Kind::kXor;
    const Call call{kind, words.data(), words.data(), words.size(), 0};
    const std::span<const std::uint8_t> bytes{reinterpret_cast<const std::uint8_t*>(words.data()),
                                              words.size_bytes()};
    return start(call, bytes, tag, stream,
                 [&] { return control_.start_all_reduce(words, op, tag, stream); });
  }
  Operation start_all_gather(std::span<const std::uint8_t> mine, std::span<std::uint8_t> all,
                             const Tag& tag, StreamRef stream) override {
    BP_CHECK(all.size() == mine.size() * static_cast<std::size_t>(size()),
             "all_gather: `all` holds one part per player");
    const Call call{Call::Kind::kGather, mine.data(), all.data(), mine.size(), 0};
    return start(call, mine, tag, stream,
                 [&] { return control_.start_all_gather(mine, all, tag, stream); });
  }
  Operation start_broadcast(int root, std::span<std::uint8_t> bytes, const Tag& tag,
                            StreamRef stream) override {
    const Call call{Call::Kind::kBroadcast, bytes.data(), bytes.data(), bytes.size(), root};
    return start(call, bytes, tag, stream,
                 [&] { return control_.start_broadcast(root, bytes, tag, stream); });
  }
  Operation start_send(int to, std::span<const std::uint8_t> bytes, const Tag& tag,
                       StreamRef stream) override {
    check_peer(to);
    const Call call{Call::Kind::kSend, bytes.data(), nullptr, bytes.size(), to};
    return start(call, bytes, tag, stream,
                 [&] { return control_.start_send(to, bytes, tag, stream); });
  }
  Operation start_recv(int from, std::span<std::uint8_t> bytes, const Tag& tag,
                       StreamRef stream) override {
    check_peer(from);
    const Call call{Call::Kind::kReceive, nullptr, bytes.data(), bytes.size(), from};
    return start(call, bytes, tag, stream,
                 [&] { return control_.start_recv(from, bytes, tag, stream); });
  }
  Result<std::vector<std::vector<std::uint8_t>>> all_gather_messages_blocking(
      std::span<const std::uint8_t> mine, const Tag& tag, Deadline deadline) override {
    return control_.all_gather_messages_blocking(mine, tag, deadline);
  }

  /// The lane's communicator, made by all players together if there is none. Errors: as
  /// connect_nccl_blocking().
  Result<std::shared_ptr<Lane>> lane_blocking(std::uint32_t number, Deadline deadline) {
    {
      const std::scoped_lock lock(mutex_);
      const auto found = lanes_.find(number);
      if (found != lanes_.end()) return found->second;
    }
    BP_ASSIGN(std::shared_ptr<Lane> lane, connect_lane_blocking(number, deadline));
    const std::scoped_lock lock(mutex_);
    lanes_.emplace(number, lane);
    return lane;
  }

 private:
  void check_peer(int peer) const {
    BP_CHECK(peer >= 0 && peer < size() && peer != rank(), "not another player");
  }

  /// By NCCL what lies on the device, else by `over_control`.
  template <class OverControl>
  Operation start(const Call& call, std::span<const std::uint8_t> bytes, const Tag& tag,
                  StreamRef stream, OverControl over_control) {
    // Else CUDA asks, and starts to use, the thread's current device: another player's, perhaps.
    if (Result<void> used = cuda::use_device(fabric_->options.device); !used.ok()) {
      return failed(used.error());
    }
    const Result<bool> device = on_device(bytes);
    if (!device.ok()) return failed(device.error());
    if (!*device) return over_control();
    const auto lane =
        lane_blocking(tag.lane, steady_clock::now() + fabric_->options.connect_timeout);
    if (!lane.ok()) return failed(lane.error());
    const auto work = (*lane)->start(call, to_string(tag), stream);
    if (!work.ok()) return failed(work.error());
    count(call);
    return Operation(std::make_unique<OnLane>(*lane, *work));
  }

  Operation failed(const Error& error) {
    return Operation(std::make_unique<Failed>(fabric_->fail(error)));
  }

  Result<std::shared_ptr<Lane>> connect_lane_blocking(std::uint32_t number, Deadline deadline) {
    const Tag tag{.lane = number, .operation = nccl::kHelloOperation};
    BP_ASSIGN(const nccl::Agreement agreed,
              nccl::agree_blocking(control_, fabric_->api, fabric_->options.device, tag, deadline));
    if (agreed.shared_gpu.empty()) return Lane::create_blocking(*fabric_, agreed.id, deadline);
    // Only the library itself knows whether it allows that.
    deadline = std::min<Deadline>(deadline, steady_clock::now() + kSharedGpuTrial);
    auto lane = Lane::create_blocking(*fabric_, agreed.id, deadline);
    if (lane.ok() || lane.error().code == ErrorCode::kPeerLost) return lane;
    return make_error(ErrorCode::kConfig,
                      agreed.shared_gpu + ", which NCCL " + nccl::version_text(agreed.version) +
                          " does not allow; give each player a GPU of its own (--device cuda:1), "
                          "or use --transport tls (" +
                          lane.error().message + ")");
  }

  /// NCCL does not tell what it sends: what a ring moves for the call.
  void count(const Call& call) {
    const auto others = static_cast<std::uint64_t>(size()) - 1;
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    switch (call.kind) {
      case Call::Kind::kSum:
        sent = received = 2 * others * 8 * call.count / static_cast<std::uint64_t>(size());
        break;
      case Call::Kind::kXor: sent = received = others * 8 * call.count; break;
      case Call::Kind::kGather: sent = received = others * call.count; break;
      case Call::Kind::kBroadcast: (call.peer == rank() ? sent : received) = call.count; break;
      case Call::Kind::kSend: sent = call.count; break;
      case Call::Kind::kReceive: received = call.count; break;
    }
    sent_bytes_.fetch_add(sent, std::memory_order_relaxed);
    received_bytes_.fetch_add(received, std::memory_order_relaxed);
  }

  Transport& control_;
  std::unique_ptr<Fabric> fabric_;
  std::mutex mutex_;
  std::map<std::uint32_t, std::shared_ptr<Lane>> lanes_;  // before what they refer to
  std::atomic<std::uint64_t> sent_bytes_ = 0;
  std::atomic<std::uint64_t> received_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<Transport>> connect_nccl_blocking(Transport& control,
                                                         const NcclOptions& options,
                                                         Deadline deadline) {
  BP_TRY(check_fabric(options.trusted_fabric));
  // Whoever cannot go on says so to the others, who wait for it, before it gives up.
  const nccl::Api* api = options.api;
  std::optional<Error> unable;
  if (api == nullptr) {
    const Result<const nccl::Api*> loaded = nccl::load();
    if (loaded.ok())
      api = *loaded;
    else
      unable = loaded.error();
  }
  auto pool = cuda::MemoryPool::create(options.device, kKept);
  if (!pool.ok() && !unable.has_value()) unable = pool.error();
  if (unable.has_value()) {
    nccl::tell_unable_blocking(control, options.lane, *unable, deadline);
    return *std::move(unable);
  }
  auto transport = std::make_unique<NcclTransport>(
      control, std::make_unique<Fabric>(*api, control, options, *std::move(pool)));
  BP_TRY(transport->lane_blocking(options.lane, deadline));
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace beaverpond
