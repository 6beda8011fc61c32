// The emulated machine: schedules, barriers, memory, and what it reports.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "kernels/cuda/device.h"
#include "simt/run.h"

namespace beaverpond::cuda {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// What run() says when it fails; empty if it does not.
template <class... Arguments>
std::string error_of(Arguments&&... arguments) {
  try {
    simt::run(std::forward<Arguments>(arguments)...);
  } catch (const simt::Error& error) {
    return error.what();
  }
  return "";
}

__global__ void write_indices(unsigned* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] += block * 1000 + thread;
}

TEST(SimtMachine, EveryThreadOfTheGridRunsOnce) {
  for (const int workers : {1, 2}) {
    const dim3 grid(3, 2, 2), block(5, 3, 2);
    std::vector<unsigned> out(12 * 30);
    simt::run(simt::Options{.seed = 3, .workers = workers}, write_indices, grid, block, 0,
              out.data());
    for (unsigned i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], i / 30 * 1000 + i % 30) << i;
  }
}

__global__ void no_arguments() {}

__global__ void take(std::uint64_t wide, const unsigned* from, unsigned* to) {
  *to = *from + static_cast<unsigned>(wide >> 32);
}

TEST(SimtMachine, ArgumentsBecomeTheKernelsOwnTypes) {
  simt::run(no_arguments, 2, 33, 0);
  unsigned from = 5, to = 0;
  simt::run(take, 1, 1, 0, 7ull << 32, &from, &to);
  EXPECT_EQ(to, 12u);
}

/// The order in which blocks begin and threads take numbers.
__global__ void take_numbers(unsigned* next, unsigned* out) {
  __syncthreads();
  out[atomicAdd(next, 1u)] = blockIdx.x * blockDim.x + threadIdx.x;
}

std::vector<unsigned> order_under(std::uint64_t seed) {
  unsigned next = 0;
  std::vector<unsigned> order(16 * 64);
  simt::run(simt::Options{.seed = seed}, take_numbers, 16, 64, 0, &next, order.data());
  return order;
}

TEST(SimtMachine, SchedulesAreDrawnBySeed) {
  std::set<std::vector<unsigned>> seen;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    std::vector<unsigned> order = order_under(seed);
    EXPECT_EQ(order, order_under(seed));
    seen.insert(order);
    std::sort(order.begin(), order.end());
    for (unsigned i = 0; i < order.size(); ++i) ASSERT_EQ(order[i], i);
  }
  EXPECT_EQ(seen.size(), 8u);
}

/// Each round passes every value on to the next thread: wrong if anybody misses a barrier.
__global__ void rotate(unsigned rounds, unsigned* out) {
  unsigned* shared = dynamic_shared<unsigned>();
  unsigned value = threadIdx.x;
  for (unsigned i = 0; i < rounds; ++i) {
    shared[threadIdx.x] = value;
    __syncthreads();
    value = shared[(threadIdx.x + 1) % blockDim.x];
    __syncthreads();
  }
  out[blockIdx.x * blockDim.x + threadIdx.x] = value;
}

TEST(SimtMachine, BarriersHoldTheWholeBlock) {
  for (const unsigned threads : {1u, 31u, 64u, 200u}) {
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      std::vector<unsigned> out(2 * threads);
      simt::run(simt::Options{.seed = seed, .workers = 2}, rotate, 2, threads, 4 * threads, 9u,
                out.data());
      for (unsigned i = 0; i < out.size(); ++i) {
        ASSERT_EQ(out[i], (i % threads + 9) % threads) << threads << " threads, seed " << seed;
      }
    }
  }
}

TEST(SimtMachine, ABlockMayHaveAThousandThreads) {
  std::vector<unsigned> out(1024);
  simt::run(rotate, 1, 1024, 4096, 2u, out.data());
  for (unsigned i = 0; i < 1024; ++i) ASSERT_EQ(out[i], (i + 2) % 1024);
}

__global__ void copy_shared(unsigned count, unsigned char* out) {
  for (unsigned i = threadIdx.x; i < count; i += blockDim.x) {
    out[blockIdx.x * count + i] = dynamic_shared<unsigned char>()[i];
  }
}

TEST(SimtMachine, SharedMemoryBeginsAsGarbage) {
  std::vector<unsigned char> out(2 * 1001);
  simt::run(copy_shared, 2, 32, 1001, 1001u, out.data());
  const std::set<unsigned char> values(out.begin(), out.end());
  EXPECT_GT(values.size(), 200u);
  EXPECT_FALSE(std::equal(out.begin(), out.begin() + 1001, out.begin() + 1001));
}

__global__ void align(unsigned* out) {
  *out = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(dynamic_shared<char>()) % 128);
}

TEST(SimtMachine, SharedMemoryIsAligned) {
  unsigned rest = 1;
  simt::run(align, 1, 1, 17, &rest);
  EXPECT_EQ(rest, 0u);
}

#if !defined(__SANITIZE_ADDRESS__)  // which stops the program at the write itself
__global__ void write_behind(std::size_t at) {
  dynamic_shared<unsigned char>()[at] = 1;
}

TEST(SimtMachine, AWriteBehindSharedMemoryIsFoundAtTheBlocksEnd) {
  EXPECT_EQ(error_of(write_behind, 3, 1, 100, 99), "");
  EXPECT_THAT(error_of(write_behind, 3, 1, 100, 100),
              HasSubstr("write beyond the shared memory of block "));
}
#endif

__global__ void half_a_barrier() {
  if (threadIdx.x < 3) return;
  __syncthreads();
}

TEST(SimtMachine, ABarrierThatSomeNeverReachIsReported) {
  EXPECT_THAT(error_of(half_a_barrier, 1, 64, 0),
              AllOf(HasSubstr("deadlock in block (0,0,0)"),
                    HasSubstr("thread (3,0,0) and 60 more: waits at __syncthreads, "),
                    HasSubstr("machine_test.cpp:"),
                    HasSubstr("thread (0,0,0) and 2 more: has exited"), HasSubstr("(seed 1)")));
}

__global__ void two_barriers() {
  if (threadIdx.y == 0) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST(SimtMachine, DifferentBarriersAreReported) {
  EXPECT_THAT(error_of(two_barriers, 1, dim3(32, 2), 0),
              AllOf(HasSubstr("different __syncthreads: block (0,0,0), thread ("),
                    HasSubstr("machine_test.cpp:")));
}

__global__ void exit_before_shuffle(unsigned* out) {
  if (threadIdx.x == 5) return;
  out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, threadIdx.x, 1);
}

TEST(SimtMachine, AWarpOperationThatALaneNeverReachesIsReported) {
  std::vector<unsigned> out(32);
  EXPECT_THAT(error_of(exit_before_shuffle, 1, 32, 0, out.data()),
              AllOf(HasSubstr("deadlock in block (0,0,0)"),
                    HasSubstr("thread (0,0,0) and 30 more: waits in __shfl_xor_sync of lanes "
                              "0xffffffff, "),
                    HasSubstr("thread (5,0,0): has exited")));
}

__global__ void barrier_against_warp(int which) {
  if (threadIdx.x % 32 < 16) {
    if (which == 0) __syncthreads();
    if (which == 1) __ballot_sync(0xffffffffu, 1);
    if (which == 2) __syncwarp(0x0000fffeu);
    if (which == 3) __shfl_sync(0x0000ffffu, 1, 0, 12);
  } else if (which < 2) {
    __syncwarp();
  }
}

TEST(SimtMachine, WarpOperationsThatDoNotFitAreReported) {
  EXPECT_THAT(error_of(barrier_against_warp, 1, 32, 0, 0),
              AllOf(HasSubstr("waits at __syncthreads"), HasSubstr("waits in __syncwarp")));
  EXPECT_THAT(error_of(barrier_against_warp, 1, 32, 0, 1),
              HasSubstr("lanes of a warp meet in different operations"));
  EXPECT_THAT(error_of(barrier_against_warp, 1, 32, 0, 2),
              AllOf(HasSubstr("a lane is not in the mask it names"), HasSubstr("(0,0,0)")));
  EXPECT_THAT(error_of(barrier_against_warp, 1, 32, 0, 3), HasSubstr("width is no power of two"));
}

__global__ void multiply_alone(int* out) {
  int d[4] = {};
  const unsigned a[4] = {}, b[2] = {};
  mma_m16n8k32_s8(d, a, b);
  out[threadIdx.x] = d[0];
}

TEST(SimtMachine, MatrixOperationsNeedAWholeWarp) {
  std::vector<int> out(48);
  EXPECT_THAT(error_of(multiply_alone, 1, 48, 0, out.data()),
              HasSubstr("a matrix operation in a warp of less than 32 lanes"));
}

__global__ void copy_to(std::size_t at, const unsigned char* from) {
  cp_async_16(dynamic_shared<unsigned char>() + at, from, true);
}

TEST(SimtMachine, CopiesOutsideSharedMemoryAndUnalignedOnesAreReported) {
  alignas(16) const unsigned char from[32] = {};
  EXPECT_EQ(error_of(copy_to, 1, 1, 64, 48, from), "");
  EXPECT_THAT(error_of(copy_to, 1, 1, 64, 64, from),
              HasSubstr("outside the block's shared memory"));
  EXPECT_THAT(error_of(copy_to, 1, 1, 64, 56, from),
              HasSubstr("outside the block's shared memory"));
  EXPECT_THAT(error_of(copy_to, 1, 1, 64, 8, from), HasSubstr("no multiple of 16"));
  EXPECT_THAT(error_of(copy_to, 1, 1, 64, 0, from + 8), HasSubstr("no multiple of 16"));
}

TEST(SimtMachine, TheMachineRunsOnAfterAnError) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_NE(error_of(half_a_barrier, 4, 64, 0), "");
    std::vector<unsigned> out(64);
    simt::run(rotate, 1, 64, 256, 3u, out.data());
    EXPECT_EQ(out[0], 3u);
  }
}

TEST(SimtMachine, LaunchesThatNoDeviceTakesAreRefused) {
  EXPECT_THAT(error_of(no_arguments, 1, 1025, 0), HasSubstr("1025x1x1 threads"));
  EXPECT_THAT(error_of(no_arguments, 1, dim3(1, 1, 65), 0), HasSubstr("1x1x65 threads"));
  EXPECT_THAT(error_of(no_arguments, 1, 0, 0), HasSubstr("0x1x1 threads"));
  EXPECT_THAT(error_of(no_arguments, dim3(1, 65536), 1, 0), HasSubstr("1x65536x1 blocks"));
  EXPECT_THAT(error_of(no_arguments, 0, 1, 0), HasSubstr("0x1x1 blocks"));
  EXPECT_THAT(error_of(no_arguments, 1, 1, 232449), HasSubstr("232449 bytes of shared memory"));
  EXPECT_EQ(error_of(no_arguments, 1, 1, 232448), "");
}

}  // namespace
}  // namespace beaverpond::cuda
