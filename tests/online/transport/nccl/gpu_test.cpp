// The built module's transport over the installed NCCL, on real GPUs; skipped where there are none.
// Players are threads, each with a GPU of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "kernels/backend.h"
#include "kernels/device_module.h"
#include "online/transport/nccl_options.h"
#include "tests/kernels/gpu_here.h"
#include "tests/online/transport/players.h"

namespace beaverpond {
namespace {

using ::testing::HasSubstr;
using testing::in_ms;
using testing::run_players;
using testing::seconds_since;

constexpr int kPatience = 60'000;

class NcclGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path = BEAVERPOND_CUDA_MODULE;
    const Result<const DeviceModule*> loaded = load_cuda_module_from({&path, 1});
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    module_ = *loaded;
    const Result<int> count = module_->device_count();
    if (!count.ok() && testing::gpu_here()) FAIL() << count.error().message;
    if (!count.ok()) GTEST_SKIP() << "no GPU here: " << count.error().message;
    gpus_ = *count;
  }

  /// One backend a player, player i on GPU i or, with `shared`, all on GPU 0.
  std::vector<Result<void>> connect(int players, bool shared = false, int limit_ms = kPatience) {
    controls_ = make_local_transports(players);
    return connect_again(players, shared, limit_ms);
  }
  std::vector<Result<void>> connect_again(int players, bool shared, int limit_ms) {
    transports_.clear();
    transports_.resize(static_cast<std::size_t>(players));
    backends_.resize(static_cast<std::size_t>(players));
    std::vector<Result<void>> results(static_cast<std::size_t>(players));
    run_players(players, [&](int rank) {
      const auto i = static_cast<std::size_t>(rank);
      NcclOptions options;
      options.device = shared ? 0 : rank;
      options.trusted_fabric = true;
      if (backends_[i] == nullptr) {
        auto backend = module_->make_backend(options.device, {});
        BP_CHECK(backend.ok(), "a backend for each GPU");
        backends_[i] = std::move(backend).value();
      }
      auto made = module_->connect_nccl(*controls_[i], options, in_ms(limit_ms));
      if (made.ok()) {
        transports_[i] = std::move(made).value();
      } else {
        results[i] = made.error();
      }
    });
    return results;
  }
  void disconnect() {
    run_players(static_cast<int>(transports_.size()),
                [&](int rank) { transports_[static_cast<std::size_t>(rank)].reset(); });
  }

  Transport& transport(int rank) { return *transports_[static_cast<std::size_t>(rank)]; }

  Buffer put(int rank, const std::vector<std::uint64_t>& words) {
    Backend& backend = *backends_[static_cast<std::size_t>(rank)];
    auto buffer = backend.allocate(ByteCount{words.size() * 8});
    BP_CHECK(buffer.ok(), "room on the GPU");
    backend.upload({reinterpret_cast<const std::uint8_t*>(words.data()), words.size() * 8},
                   buffer->bytes(), kHostStream);
    BP_CHECK(backend.synchronize(kHostStream).ok(), "upload");
    return std::move(buffer).value();
  }
  std::vector<std::uint64_t> get(int rank, const Buffer& buffer) {
    Backend& backend = *backends_[static_cast<std::size_t>(rank)];
    std::vector<std::uint64_t> words(buffer.words().size());
    backend.download(buffer.bytes(),
                     {reinterpret_cast<std::uint8_t*>(words.data()), words.size() * 8},
                     kHostStream);
    BP_CHECK(backend.synchronize(kHostStream).ok(), "download");
    return words;
  }

  /// Word i of a player.
  static std::uint64_t word(int rank, std::size_t i) {
    return (i + 1) * 0x9e3779b97f4a7c15u * (static_cast<std::uint64_t>(rank) * 2 + 1);
  }
  static std::vector<std::uint64_t> words(int rank, std::size_t count) {
    std::vector<std::uint64_t> all(count);
    for (std::size_t i = 0; i < count; ++i) all[i] = word(rank, i);
    return all;
  }

  void expect_all_operations_right(int players) {
    for (const std::size_t count : {1u, 1000u, 1u << 20}) {
      std::vector<std::uint64_t> sum(count);
      std::vector<std::uint64_t> bits(count);
      std::vector<std::uint64_t> gathered;
      for (int rank = 0; rank < players; ++rank) {
        const std::vector<std::uint64_t> theirs = words(rank, count);
        gathered.insert(gathered.end(), theirs.begin(), theirs.end());
        for (std::size_t i = 0; i < count; ++i) {
          sum[i] += theirs[i];
          bits[i] ^= theirs[i];
        }
      }
      run_players(players, [&](int rank) {
        const Buffer sums = put(rank, words(rank, count));
        const Buffer planes = put(rank, words(rank, count));
        const Buffer mine = put(rank, words(rank, count));
        const Buffer all = put(rank, std::vector<std::uint64_t>(gathered.size()));
        std::vector<Operation> pending;
        Transport& here = transport(rank);
        pending.push_back(here.start_all_reduce(sums.words(), ReduceOp::kSum, {}, kHostStream));
        pending.push_back(here.start_all_reduce(planes.words(), ReduceOp::kXor, {}, kHostStream));
        pending.push_back(here.start_all_gather(mine.bytes(), all.bytes(), {}, kHostStream));
        for (Operation& operation : pending) {
          const Result<void> result = operation.wait(in_ms(kPatience));
          ASSERT_TRUE(result.ok()) << result.error().message;
        }
        EXPECT_TRUE(get(rank, sums) == sum);
        EXPECT_TRUE(get(rank, planes) == bits);
        EXPECT_TRUE(get(rank, all) == gathered);
        const int root = players - 1;
        ASSERT_TRUE(here.broadcast_blocking(root, mine.bytes(), {}, in_ms(kPatience)).ok());
        EXPECT_TRUE(get(rank, mine) == words(root, count));
        if (players == 1) return;
        const Buffer out = put(rank, words(rank, count));
        const Buffer in = put(rank, std::vector<std::uint64_t>(count));
        const int previous = (rank + players - 1) % players;
        Operation send = here.start_send((rank + 1) % players, out.bytes(), {}, kHostStream);
        ASSERT_TRUE(here.recv_blocking(previous, in.bytes(), {}, in_ms(kPatience)).ok());
        ASSERT_TRUE(send.wait(in_ms(kPatience)).ok());
        EXPECT_TRUE(get(rank, in) == words(previous, count));
      });
    }
  }

  const DeviceModule* module_ = nullptr;
  int gpus_ = 0;
  std::vector<std::unique_ptr<Transport>> controls_;
  std::vector<std::unique_ptr<Backend>> backends_;
  std::vector<std::unique_ptr<Transport>> transports_;
};

TEST_F(NcclGpu, OneGpuIsACommunicatorToo) {
  const auto connected = connect(1);
  ASSERT_TRUE(connected[0].ok()) << connected[0].error().message;
  EXPECT_EQ(transport(0).memory(), MemoryKind::kDevice);
  expect_all_operations_right(1);
  const Deadline start = in_ms(0);
  disconnect();
  EXPECT_LT(seconds_since(start), 3.0);
}

TEST_F(NcclGpu, ASharedGpuIsAllowedOrRefusedInWords) {
  const Deadline start = in_ms(0);
  const auto connected = connect(2, true);
  if (connected[0].ok() && connected[1].ok()) return expect_all_operations_right(2);
  for (const Result<void>& result : connected) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kConfig);
    EXPECT_THAT(result.error().message, HasSubstr("players 0 and 1 share a GPU, which NCCL 2."));
  }
  EXPECT_LT(seconds_since(start), 20.0);
  // What failed leaves the GPU usable.
  transports_.clear();
  ASSERT_TRUE(connect(1)[0].ok());
  expect_all_operations_right(1);
}

/// A player that says hello, as if it had a GPU of its own, and never joins.
TEST_F(NcclGpu, APlayerThatNeverJoinsIsATimeoutAndTheGpuGoesOn) {
  controls_ = make_local_transports(2);
  const Tag tag{.operation = 0xfffe0000u};
  std::thread absent([&] {
    // The version is that of player 0's own hello, which therefore comes first.
    std::vector<std::uint8_t> theirs(160);
    ASSERT_TRUE(controls_[1]->recv_blocking(0, theirs, tag, in_ms(kPatience)).ok());
    theirs[16] ^= 1;  // another GPU
    ASSERT_TRUE(controls_[1]->send_blocking(0, theirs, tag, in_ms(kPatience)).ok());
  });
  NcclOptions options;
  options.trusted_fabric = true;
  const Deadline start = in_ms(0);
  const auto made = module_->connect_nccl(*controls_[0], options, in_ms(4'000));
  absent.join();
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, ErrorCode::kTimeout) << made.error().message;
  EXPECT_EQ(made.error().player, 1);
  EXPECT_LT(seconds_since(start), 15.0);
  ASSERT_TRUE(connect(1)[0].ok());
  expect_all_operations_right(1);
}

TEST_F(NcclGpu, AGpuEach) {
  if (gpus_ < 2) GTEST_SKIP() << "one GPU here, two are needed";
  const int players = std::min(gpus_, 8);
  for (const Result<void>& result : connect(players)) {
    ASSERT_TRUE(result.ok()) << result.error().message;
  }
  expect_all_operations_right(players);
  disconnect();
}

TEST_F(NcclGpu, APlayerThatIsLateIsATimeoutAndAFreshCommunicatorWorks) {
  if (gpus_ < 2) GTEST_SKIP() << "one GPU here, two are needed";
  for (const Result<void>& result : connect(2)) {
    ASSERT_TRUE(result.ok()) << result.error().message;
  }
  const Buffer mine = put(0, words(0, 1000));
  const Deadline start = in_ms(0);
  const Result<void> late =
      transport(0).all_reduce_blocking(mine.words(), ReduceOp::kSum, {}, in_ms(1'000));
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, ErrorCode::kTimeout);
  EXPECT_LT(seconds_since(start), 10.0);
  disconnect();
  for (const Result<void>& result : connect_again(2, false, kPatience)) {
    ASSERT_TRUE(result.ok()) << result.error().message;
  }
  expect_all_operations_right(2);
  disconnect();
}

}  // namespace
}  // namespace beaverpond
