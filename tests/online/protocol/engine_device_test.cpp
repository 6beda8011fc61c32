// An engine on a device: what travels without copies, what a failure of the device ends in.
#include <gtest/gtest.h>

#include <atomic>

#include "online/protocol/compare_stage.h"
#include "tests/online/protocol/player_group.h"
#include "tests/online/transport/forwarding_transport.h"

namespace beaverpond::testing {
namespace {

/// Stands for a transport that takes device memory: copies through the far backend by itself.
class DeviceTransport final : public ForwardingTransport {
 public:
  DeviceTransport(Transport& inner, FarBackend& backend)
      : ForwardingTransport(inner), inner_(inner), backend_(backend) {}

  MemoryKind memory() const override { return MemoryKind::kDevice; }
  Operation start_all_reduce(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                             StreamRef) override {
    class Copying final : public Operation::Pending {
     public:
      Copying(FarBackend& backend, Words words, Transport& transport, ReduceOp op, const Tag& tag)
          : backend_(backend), words_(words), host_(words.size()) {
        backend_.download(bytes_of(words_), bytes_of(Words(host_)), kHostStream);
        EXPECT_TRUE(backend_.synchronize(kHostStream).ok());
        inner_ =
            std::make_unique<Operation>(transport.start_all_reduce(host_, op, tag, kHostStream));
      }
      Result<void> wait(Deadline deadline) override {
        Result<void> result = inner_->wait(deadline);
        backend_.upload(bytes_of(ConstWords(host_)), bytes_of(words_), kHostStream);
        EXPECT_TRUE(backend_.synchronize(kHostStream).ok());
        return result;
      }

     private:
      FarBackend& backend_;
      Words words_;
      WordVector host_;
      std::unique_ptr<Operation> inner_;
    };
    return Operation(std::make_unique<Copying>(backend_, words, inner_, op, tag));
  }

 private:
  Transport& inner_;
  FarBackend& backend_;
};

/// w := w - 3 x relu(x y), of which a product is revealed.
Program small_program() {
  ProgramBuilder b;
  b.set_layer("first");
  const ValueId x = b.input(0, Shape{6, 6}, 4);
  const ValueId y = b.input(1, Shape{6, 6}, 4);
  const ValueId w = b.state(Shape{6, 6}, 8);
  const ValueId z = b.relu_truncate(b.matmul(x, y), 4, true).value;
  b.set_layer("second");
  const ValueId gradient = b.multiply(z, y);
  b.update(w, gradient);
  b.reveal(gradient, 3);
  return b.finish().value();
}

WordVector counted(std::size_t count, std::uint64_t from) {
  WordVector words(count);
  for (std::size_t i = 0; i < count; ++i) words[i] = from + i;
  return words;
}

class Device : public ::testing::Test {
 protected:
  Device() { plan_ = make_plan(program_, PrgKind::kAes128Ctr).value(); }

  /// Player 0 computes far away, the other on the host; both over host memory.
  PlayerGroup::Seams far_player_0() {
    PlayerGroup::Seams seams;
    seams.backend = [this](int rank) -> std::unique_ptr<Backend> {
      if (rank != 0) return make_cpu_backend();
      auto far = std::make_unique<FarBackend>();
      far_ = far.get();
      return far;
    };
    return seams;
  }

  Program program_ = small_program();
  Plan plan_;
  const std::vector<WordVector> inputs_ = {counted(36, 5), counted(36, 900)};
  FarBackend* far_ = nullptr;
};

TEST_F(Device, PlayersOnDifferentDevicesAgree) {
  TestDealer dealer(plan_, 2, 1, make_cpu_backend());
  std::vector<Bundle> same = dealer.deal(0);
  PlayerGroup mixed(program_, plan_, 2, far_player_0());
  expect_ok(mixed.run(&same, inputs_, 3));
  std::vector<Bundle> next = dealer.deal(1);
  PlayerGroup::Seams near;
  near.backend = [](int) { return make_cpu_backend(); };
  PlayerGroup host(program_, plan_, 2, near);
  expect_ok(host.run(&next, inputs_, 3));
  EXPECT_EQ(mixed.revealed(0, 0), host.revealed(0, 0));
  EXPECT_EQ(mixed.revealed(1, 0), host.revealed(0, 0));
  EXPECT_EQ(mixed.state(0), host.state(0));
}

/// The pieces of a larger tensor follow those of a smaller one, whose memory is too small for them
/// while its last upload is still on its way.
TEST_F(Device, NoRoundsMemoryEndsUnderAnUpload) {
  constexpr std::uint32_t kRows = 4096, kInner = 32, kColumns = 45;
  static_assert(piece_cut(kRows * kInner).pieces == piece_cut(kRows * kColumns).pieces);
  static_assert(piece_cut(kRows * kColumns).piece_elements * 4 >
                piece_cut(kRows * kInner).piece_elements * 5);  // a quarter is in reserve
  ProgramBuilder b;
  const ValueId x = b.input(0, Shape{kRows, kInner}, 16);
  const ValueId w = b.input(1, Shape{kInner, kColumns}, 16);
  b.reveal(b.relu(b.matmul(x, w)).value, 1);
  program_ = b.finish().value();
  plan_ = make_plan(program_, PrgKind::kAes128Ctr).value();
  const WordVector left = counted(kRows * kInner, 3);
  const WordVector right = counted(kInner * kColumns, ~std::uint64_t{0} - kInner * kColumns / 2);
  TestDealer dealer(plan_, 2, 1, make_cpu_backend());
  std::vector<Bundle> bundles = dealer.deal(0);
  PlayerGroup group(program_, plan_, 2, far_player_0());
  expect_ok(group.run(&bundles, {left, right}));
  const WordVector got = group.revealed(0, 0);
  ASSERT_EQ(got.size(), kRows * kColumns);
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t j = 0; j < kColumns; ++j) {
      std::uint64_t sum = 0;
      for (std::size_t k = 0; k < kInner; ++k) {
        sum += left[i * kInner + k] * right[k * kColumns + j];
      }
      ASSERT_EQ(got[i * kColumns + j], sum >> 63 == 0 ? sum : 0) << i << ' ' << j;
    }
  }
}

TEST_F(Device, ATransportThatTakesDeviceMemoryGetsIt) {
  TestDealer dealer(plan_, 2, 1, make_cpu_backend());
  std::vector<FarBackend*> backends;
  PlayerGroup::Seams seams;
  seams.backend = [&](int) {
    auto far = std::make_unique<FarBackend>();
    backends.push_back(far.get());
    return far;
  };
  // FarBackend refuses memory of the wrong kind on either way.
  seams.transport = [&](int rank, Transport& inner) {
    return std::make_unique<DeviceTransport>(inner, *backends[static_cast<std::size_t>(rank)]);
  };
  PlayerGroup direct(program_, plan_, 2, seams);
  std::vector<Bundle> bundles = dealer.deal(0);
  expect_ok(direct.run(&bundles, inputs_, 3));
  std::vector<Bundle> next = dealer.deal(1);
  PlayerGroup staged(program_, plan_, 2, far_player_0());
  expect_ok(staged.run(&next, inputs_, 3));
  EXPECT_EQ(direct.revealed(0, 0), staged.revealed(0, 0));
  EXPECT_EQ(direct.state(0), staged.state(0));
}

TEST_F(Device, ATransportForDevicesNeedsOne) {
  const std::unique_ptr<Backend> host = make_cpu_backend();
  FarBackend far;
  const auto transports = make_local_transports(2);
  DeviceTransport transport(*transports[0], far);
  const auto engine = Engine::create(program_, plan_, *host, transport, PairKeys{}, {});
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, ErrorCode::kConfig);
  EXPECT_NE(engine.error().message.find("device memory"), std::string::npos);
}

TEST_F(Device, StatesComeAndGoAsHostWords) {
  PlayerGroup group(program_, plan_, 2, far_player_0());
  const WordVector words = counted(36, 77);
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(group.engine(rank).state_share(0).value(), WordVector(36));
    ASSERT_TRUE(group.engine(rank).set_public_state(0, words).ok());
  }
  EXPECT_EQ(group.state(0), words);
  ASSERT_TRUE(group.engine(0).set_state_share(0, counted(36, 1000)).ok());
  EXPECT_EQ(group.engine(0).state_share(0).value(), counted(36, 1000));
}

TEST_F(Device, AFullDeviceIsAnErrorOfCreate) {
  FarBackend probe;
  probe.allow_allocations(1);  // the block, and then a state
  const auto transports = make_local_transports(2);
  const auto engine = Engine::create(program_, plan_, probe, *transports[0], PairKeys{}, {});
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, ErrorCode::kOutOfMemory);
}

/// Counts what leaves a player after its device has failed.
class WatchedTransport final : public ForwardingTransport {
 public:
  WatchedTransport(Transport& inner, std::atomic<int>& sent)
      : ForwardingTransport(inner), sent_(sent) {}
  Operation start_all_reduce(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                             StreamRef stream) override {
    ++sent_;
    return ForwardingTransport::start_all_reduce(words, op, tag, stream);
  }
  Operation start_send(int to, std::span<const std::uint8_t> bytes, const Tag& tag,
                       StreamRef stream) override {
    ++sent_;
    return ForwardingTransport::start_send(to, bytes, tag, stream);
  }

 private:
  std::atomic<int>& sent_;
};

TEST_F(Device, WhereverItFailsTheErrorIsTypedAndTheRunIsTheLast) {
  TestDealer dealer(plan_, 2, 1, make_cpu_backend());
  std::uint64_t operations = 0;
  {
    PlayerGroup group(program_, plan_, 2, far_player_0());
    std::vector<Bundle> bundles = dealer.deal(0);
    expect_ok(group.run(&bundles, inputs_, 3));
    operations = far_->operations();
  }
  ASSERT_GT(operations, 20u);
  for (std::uint64_t at = 0; at < operations; ++at) {
    const ErrorCode code = at % 2 == 0 ? ErrorCode::kDeviceFailed : ErrorCode::kOutOfMemory;
    std::atomic<int> sent = 0;
    PlayerGroup::Seams seams = far_player_0();
    seams.transport = [&](int rank, Transport& inner) -> std::unique_ptr<Transport> {
      if (rank == 0) return std::make_unique<WatchedTransport>(inner, sent);
      return std::make_unique<ForwardingTransport>(inner);
    };
    PlayerGroup group(program_, plan_, 2, seams);
    std::vector<Bundle> bundles = dealer.deal(at + 1);
    std::vector<Bundle> unused = dealer.deal(operations + at + 1);
    far_->fail_after(at, code);
    std::vector<Result<void>> results = group.run_until_lost(bundles, inputs_, 3);
    ASSERT_FALSE(results[0].ok()) << at;
    EXPECT_EQ(results[0].error().code, code) << at;
    EXPECT_TRUE(results[0].error().operation.find("first") != std::string::npos ||
                results[0].error().operation.find("second") != std::string::npos)
        << at << ": " << results[0].error().operation;
    const int before = sent;
    EXPECT_EQ(group.engine(0).run(std::move(unused[0]), group.inputs_of(0, inputs_)).error().code,
              ErrorCode::kCancelled);
    EXPECT_EQ(group.engine(0).state_share(0).error().code, code);
    EXPECT_EQ(group.engine(0).set_public_state(0, counted(36, 0)).error().code, code);
    EXPECT_EQ(group.engine(0).reveal_state(0, 3, 0).error().code, code);
    EXPECT_EQ(sent, before) << at;
  }
}

}  // namespace
}  // namespace beaverpond::testing
