// Several GPUs that deal side by side, two threads each, as the factory has them: on the module's
// own sources, emulated. Every bundle has the bytes of the CPU's dealer.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "beaverpond/program_builder.h"
#include "fake_cuda/control.h"
#include "kernels/cuda/cuda_backend.h"
#include "offline/dealer/dealer.h"

namespace beaverpond::testing {
namespace {

constexpr int kPlayers = 3;

std::vector<Seed> seeds_of(int bundle) {
  std::vector<Seed> seeds(kPlayers);
  auto number = static_cast<std::uint8_t>(bundle * 7 + 1);
  for (Seed& seed : seeds) {
    for (std::uint8_t& byte : seed.mutable_bytes()) byte = number++;
  }
  return seeds;
}

Plan small_step() {
  ProgramBuilder b;
  const ValueId x = b.input(0, {9, 30}, 16);
  const ValueId w = b.input(1, {30, 17}, 16);
  const ValueAndBit hidden = b.relu_truncate(b.matmul(x, w), 16, true);
  const ValueId gradient = b.matmul(x, hidden.value, true, false);
  b.reveal(b.truncate(gradient, 12, true), 1);
  return make_plan(b.finish().value(), PrgKind::kChaCha20).value();
}

using Bytes = std::vector<std::uint8_t>;

Result<Bytes> deal(Dealer& dealer, Backend& backend, const Plan& plan, int bundle) {
  BP_ASSIGN(const Buffer correction, backend.allocate_host(plan.correction_size));
  BP_TRY(dealer.deal(seeds_of(bundle), bundle % kPlayers, correction.bytes(), kHostStream));
  return Bytes(correction.bytes().begin(), correction.bytes().end());
}

/// Deals every bundle whose number is `first` modulo `step` on one device.
Result<std::vector<Bytes>> deal_on(int device, const Plan& plan, int first, int step, int bundles) {
  BP_ASSIGN(const std::unique_ptr<Backend> backend, make_cuda_backend(device));
  BP_ASSIGN(Dealer dealer, Dealer::create(plan, kPlayers, *backend));
  std::vector<Bytes> dealt;
  for (int bundle = first; bundle < bundles; bundle += step) {
    BP_ASSIGN(Bytes bytes, deal(dealer, *backend, plan, bundle));
    dealt.push_back(std::move(bytes));
  }
  return dealt;
}

TEST(GpusDeal, SideBySideTheSameBytesAsTheCpu) {
  constexpr int kGpus = 3;
  constexpr int kThreads = 2 * kGpus;
  constexpr int kBundles = 3 * kThreads;
  fake_cuda::Settings settings;
  settings.devices = kGpus;
  fake_cuda::reset(settings);
  const Plan plan = small_step();
  std::vector<Result<std::vector<Bytes>>> dealt(kThreads,
                                                make_error(ErrorCode::kCancelled, "did not run"));
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      dealt[static_cast<std::size_t>(i)] = deal_on(i % kGpus, plan, i, kThreads, kBundles);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::unique_ptr<Backend> cpu = make_cpu_backend();
  auto dealer = Dealer::create(plan, kPlayers, *cpu);
  ASSERT_TRUE(dealer.ok());
  for (int bundle = 0; bundle < kBundles; ++bundle) {
    const auto& of_thread = dealt[static_cast<std::size_t>(bundle % kThreads)];
    ASSERT_TRUE(of_thread.ok()) << of_thread.error().message;
    const Result<Bytes> expected = deal(*dealer, *cpu, plan, bundle);
    ASSERT_TRUE(expected.ok());
    EXPECT_TRUE(*expected == (*of_thread)[static_cast<std::size_t>(bundle / kThreads)]) << bundle;
  }
}

TEST(GpusDeal, AGpuThatStopsIsAnErrorOfItsOwnThreadsOnly) {
  fake_cuda::Settings settings;
  settings.devices = 2;
  fake_cuda::reset(settings);
  const Plan plan = small_step();
  const auto broken = make_cuda_backend(0);
  ASSERT_TRUE(broken.ok());
  auto dealer = Dealer::create(plan, kPlayers, **broken);
  ASSERT_TRUE(dealer.ok());
  const auto memory = (*broken)->allocate_host(plan.correction_size);
  ASSERT_TRUE(memory.ok());
  fake_cuda::stop_device(0, cudaErrorLaunchFailure);
  const Result<void> failed = dealer->deal(seeds_of(0), 0, memory->bytes(), kHostStream);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::kDeviceFailed) << failed.error().message;
  const auto other = deal_on(1, plan, 0, 1, 2);
  EXPECT_TRUE(other.ok()) << other.error().message;
}

}  // namespace
}  // namespace beaverpond::testing
