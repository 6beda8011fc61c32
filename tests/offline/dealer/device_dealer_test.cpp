// The dealer on a device: the same bytes as on the host, and errors instead of wrong ones.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "beaverpond/program_builder.h"
#include "offline/dealer/dealer.h"
#include "tests/kernels/far_backend.h"
#include "tests/kernels/forgetting_backend.h"

namespace beaverpond::testing {
namespace {

std::vector<Seed> numbered_seeds(int players) {
  std::vector<Seed> seeds(static_cast<std::size_t>(players));
  std::uint8_t number = 1;
  for (Seed& seed : seeds) {
    for (std::uint8_t& byte : seed.mutable_bytes()) byte = number++;
  }
  return seeds;
}

/// Every kind of entry. Entries of the series' head and of its members alternate.
Plan every_kind(PrgKind prg) {
  ProgramBuilder b;
  b.set_members(3);
  const ValueId x = b.input(1, {5, 4}, 16);
  const ValueId w = b.input(0, {4, 3}, 16, true);
  const ValueId master = b.state({3}, 40, true);
  const ValueId product = b.matmul(x, w);
  const ValueId bias = b.truncate(master, 24, true);
  const ValueAndBit y = b.relu_truncate(b.add_row(product, b.shift_left(bias, 16)), 16, true);
  const ValueAndBit positive = b.relu(w);
  const ValueId spread = b.matmul(x, y.value, true, false);
  b.reveal(b.multiply_bit(w, positive.bit), 1);
  b.reveal(b.truncate_times_bit(spread, positive.bit, 16, true), 1);
  b.reveal(b.lookup(b.bit_to_word(y.bit), {5, 6, 7, 8}, 0), 3);
  b.reveal(b.multiply(y.value, y.value), 1);
  Conv2dShape conv;
  conv.batch = 2;
  conv.height = conv.width = 6;
  conv.in_channels = 1;
  conv.kernel = 3;
  conv.out_channels = 2;
  const ValueId images = b.input(0, conv.image_shape(), 8);
  const ValueId kernel = b.input(1, conv.weight_shape(), 8, true);
  const ValueId out = b.conv2d(images, kernel, conv);
  b.reveal(b.conv2d_grad_weight(images, out, conv), 1);
  b.reveal(b.conv2d_grad_input(out, kernel, conv), 1);
  return make_plan(b.finish().value(), prg).value();
}

/// Larger than what is dealt at a time, of entries that do not divide it.
Plan several_pieces() {
  ProgramBuilder b;
  ValueId x = b.input(0, {70001}, 16);
  for (int i = 0; i < 9; ++i) x = b.relu_truncate(x, 1, true).value;
  b.reveal(x, 1);
  return make_plan(b.finish().value(), PrgKind::kAes128Ctr).value();
}

/// One entry alone is larger than that.
Plan one_large_entry() {
  ProgramBuilder b;
  const ValueId x = b.input(0, {600}, 16);
  const ValueId low = b.truncate(b.lookup(x, std::vector<std::uint64_t>(4096, 9), 16), 2, true);
  b.reveal(b.multiply(low, x), 1);
  return make_plan(b.finish().value(), PrgKind::kAes128Ctr).value();
}

std::vector<std::uint8_t> deal(Backend& backend, const Plan& plan, int designated) {
  const std::vector<Seed> seeds = numbered_seeds(3);
  Dealer dealer = Dealer::create(plan, 3, backend).value();
  const Buffer memory = backend.allocate_host(plan.correction_size).value();
  std::memset(memory.bytes().data(), 0xaa, memory.bytes().size());
  const Result<void> dealt = dealer.deal(seeds, designated, memory.bytes(), kHostStream);
  EXPECT_TRUE(dealt.ok()) << dealt.error().message;
  return {memory.bytes().begin(), memory.bytes().end()};
}

void expect_same_bytes(const Plan& plan) {
  for (int designated = 0; designated < 3; ++designated) {
    FarBackend far;
    const std::unique_ptr<Backend> near = make_cpu_backend();
    EXPECT_TRUE(deal(far, plan, designated) == deal(*near, plan, designated)) << designated;
  }
}

TEST(DeviceDealer, DealsTheBytesOfTheHost) {
  for (const PrgKind prg : {PrgKind::kAes128Ctr, PrgKind::kChaCha20}) {
    expect_same_bytes(every_kind(prg));
  }
}

TEST(DeviceDealer, DealsInPiecesWhatIsLarge) {
  const Plan pieces = several_pieces();
  ASSERT_GT(pieces.correction_size.value, 3u * (16u << 20));
  expect_same_bytes(pieces);
  expect_same_bytes(one_large_entry());
}

TEST(DeviceDealer, TimingEveryEntryChangesNoByte) {
  const Plan plan = every_kind(PrgKind::kAes128Ctr);
  FarBackend far;
  const std::vector<std::uint8_t> untimed = deal(far, plan, 1);
  Dealer dealer = Dealer::create(plan, 3, far).value();
  const Buffer memory = far.allocate_host(plan.correction_size).value();
  std::vector<double> seconds(plan.entries.size());
  const std::vector<Seed> seeds = numbered_seeds(3);
  ASSERT_TRUE(dealer.deal(seeds, 1, memory.bytes(), kHostStream, seconds).ok());
  for (const double entry : seconds) EXPECT_GT(entry, 0);
  EXPECT_TRUE(std::equal(untimed.begin(), untimed.end(), memory.bytes().begin()));
}

TEST(DeviceDealer, NoKeyOfABundleStaysWhetherItWasDealtOrNot) {
  const Plan plan = every_kind(PrgKind::kAes128Ctr);
  auto owned = std::make_unique<FarBackend>();
  FarBackend& far = *owned;
  ForgettingBackend backend(std::move(owned));
  deal(backend, plan, 0);
  EXPECT_EQ(backend.times(), 1);
  Dealer dealer = Dealer::create(plan, 3, backend).value();
  const Buffer memory = backend.allocate_host(plan.correction_size).value();
  const std::vector<Seed> seeds = numbered_seeds(3);
  far.fail_after(5, ErrorCode::kDeviceFailed);
  EXPECT_FALSE(dealer.deal(seeds, 1, memory.bytes(), kHostStream).ok());
  EXPECT_EQ(backend.times(), 2);
}

TEST(DeviceDealer, WhereverTheDeviceFailsTheErrorIsTyped) {
  const Plan plan = every_kind(PrgKind::kAes128Ctr);
  FarBackend far;
  const std::vector<std::uint8_t> right = deal(far, plan, 2);
  const std::uint64_t operations = far.operations();
  ASSERT_GT(operations, 30u);
  Dealer dealer = Dealer::create(plan, 3, far).value();
  const Buffer memory = far.allocate_host(plan.correction_size).value();
  const std::vector<Seed> seeds = numbered_seeds(3);
  for (std::uint64_t at = 0; at < operations; ++at) {
    const ErrorCode code = at % 2 == 0 ? ErrorCode::kDeviceFailed : ErrorCode::kOutOfMemory;
    far.fail_after(at, code);
    const Result<void> failed = dealer.deal(seeds, 2, memory.bytes(), kHostStream);
    ASSERT_FALSE(failed.ok()) << at;
    EXPECT_EQ(failed.error().code, code);
    // What failed once leaves nothing behind.
    ASSERT_TRUE(dealer.deal(seeds, 2, memory.bytes(), kHostStream).ok());
    ASSERT_TRUE(std::equal(right.begin(), right.end(), memory.bytes().begin())) << at;
  }
}

TEST(DeviceDealer, AFullDeviceIsAnErrorOfCreate) {
  const Plan plan = every_kind(PrgKind::kAes128Ctr);
  FarBackend far;
  far.allow_allocations(2);
  EXPECT_EQ(Dealer::create(plan, 3, far).error().code, ErrorCode::kOutOfMemory);
}

}  // namespace
}  // namespace beaverpond::testing
