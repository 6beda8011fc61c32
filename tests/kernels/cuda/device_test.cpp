// What kernels may use (kernels/cuda/device.h), against plain loops that follow the manuals of CUDA
// and PTX. Compiled for the emulator and, by nvcc, for a GPU: what one of them does and the other
// does not fails here.
#include "kernels/cuda/device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "tests/kernels/cuda/on_device.h"

namespace beaverpond::cuda {
namespace {

constexpr unsigned kAll = 0xffffffffu;

class Device : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_device()) GTEST_SKIP() << "no GPU here";
  }
  std::mt19937_64 random_{1};
};

static_assert(sizeof(uint2) == 8 && alignof(uint2) == 8);
static_assert(sizeof(uint4) == 16 && alignof(uint4) == 16);
static_assert(sizeof(int4) == 16 && alignof(int4) == 16);
static_assert(sizeof(ulonglong2) == 16 && alignof(ulonglong2) == 16);

template <class T>
__global__ void shuffle_all(const T* in, int operand, int width, T* out) {
  const T mine = in[threadIdx.x];
  T* const of_lane = out + 4 * threadIdx.x;
  of_lane[0] = __shfl_sync(kAll, mine, operand, width);
  of_lane[1] = __shfl_up_sync(kAll, mine, static_cast<unsigned>(operand), width);
  of_lane[2] = __shfl_down_sync(kAll, mine, static_cast<unsigned>(operand), width);
  of_lane[3] = __shfl_xor_sync(kAll, mine, operand, width);
}

template <class T>
void check_shuffles(std::mt19937_64& random) {
  Array<T> in(64), out(4 * 64);
  for (std::size_t i = 0; i < 64; ++i) in[i] = static_cast<T>(random());
  for (int width = 1; width <= 32; width *= 2) {
    for (int operand = 0; operand < 32; ++operand) {
      run_kernel(shuffle_all<T>, 1, 64, 0, in.data(), operand, width, out.data());
      for (int thread = 0; thread < 64; ++thread) {
        const int begin = thread / width * width, end = begin + width;
        const int up = thread - operand, down = thread + operand;
        const int other = thread / 32 * 32 + (thread % 32 ^ operand);
        const int sources[4] = {begin + operand % width, up < begin ? thread : up,
                                down >= end ? thread : down, other >= end ? thread : other};
        for (int i = 0; i < 4; ++i) {
          ASSERT_EQ(out[static_cast<std::size_t>(4 * thread + i)],
                    in[static_cast<std::size_t>(sources[i])])
              << "shuffle " << i << " by " << operand << " of " << width << ", thread " << thread;
        }
      }
    }
  }
}

TEST_F(Device, ShufflesOf32Bits) {
  check_shuffles<unsigned>(random_);
  check_shuffles<int>(random_);
}

TEST_F(Device, ShufflesOf64Bits) {
  check_shuffles<unsigned long long>(random_);
  check_shuffles<long long>(random_);
}

/// Even and odd lanes vote among themselves, in different branches.
__global__ void vote(const int* in, unsigned* out) {
  const int mine = in[threadIdx.x];
  unsigned* const of_lane = out + 6 * threadIdx.x;
  of_lane[0] = __ballot_sync(kAll, mine);
  of_lane[1] = static_cast<unsigned>(__any_sync(kAll, mine) != 0);
  of_lane[2] = static_cast<unsigned>(__all_sync(kAll, mine) != 0);
  const unsigned mask = threadIdx.x % 2 == 0 ? 0x55555555u : 0xaaaaaaaau;
  if (threadIdx.x % 2 == 0) {
    of_lane[3] = __ballot_sync(mask, mine);
    of_lane[4] = static_cast<unsigned>(__any_sync(mask, mine) != 0);
    of_lane[5] = static_cast<unsigned>(__all_sync(mask, mine) != 0);
  } else {
    of_lane[5] = static_cast<unsigned>(__all_sync(mask, mine) != 0);
    of_lane[4] = static_cast<unsigned>(__any_sync(mask, mine) != 0);
    of_lane[3] = __ballot_sync(mask, mine);
  }
}

TEST_F(Device, VotesAndBallots) {
  for (const unsigned pattern : {0u, kAll, 0x55555555u, 0xaaaaaaaau, 1u, 0x80000000u, 0x7ffffff5u,
                                 static_cast<unsigned>(random_())}) {
    Array<int> in(32);
    Array<unsigned> out(6 * 32);
    for (unsigned lane = 0; lane < 32; ++lane) in[lane] = (pattern >> lane & 1) ? -7 : 0;
    run_kernel(vote, 1, 32, 0, in.data(), out.data());
    for (unsigned lane = 0; lane < 32; ++lane) {
      const unsigned masks[2] = {kAll, lane % 2 == 0 ? 0x55555555u : 0xaaaaaaaau};
      for (unsigned i = 0; i < 2; ++i) {
        const unsigned bits = pattern & masks[i];
        ASSERT_EQ(out[6 * lane + 3 * i], bits) << lane;
        ASSERT_EQ(out[6 * lane + 3 * i + 1], bits != 0 ? 1u : 0u) << lane;
        ASSERT_EQ(out[6 * lane + 3 * i + 2], bits == masks[i] ? 1u : 0u) << lane;
      }
    }
  }
}

/// Pairs of lanes exchange words through shared memory, each pair in its own mask.
__global__ void exchange_in_pairs(unsigned rounds, unsigned* out) {
  unsigned* shared = dynamic_shared<unsigned>();
  const unsigned mask = 3u << (threadIdx.x % 32 & 30u);
  unsigned value = threadIdx.x;
  for (unsigned i = 0; i < rounds + threadIdx.x / 2 % 3 * 2; ++i) {
    shared[threadIdx.x] = value;
    __syncwarp(mask);
    value = shared[threadIdx.x ^ 1u];
    __syncwarp(mask);
  }
  out[threadIdx.x] = value;
}

TEST_F(Device, WarpBarriersOfPairs) {
  for (const unsigned rounds : {1u, 2u, 7u}) {
    Array<unsigned> out(96);
    run_kernel(exchange_in_pairs, 1, 96, 96 * 4, rounds, out.data());
    for (unsigned i = 0; i < 96; ++i) ASSERT_EQ(out[i], i ^ (rounds & 1)) << i;
  }
}

template <class T>
__global__ void use_atomics(const T* in, T* results, T* before) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  before[i] = atomicAdd(results, T{1});
  atomicAdd(results + 1, in[i]);
  atomicXor(results + 2, in[i]);
  atomicOr(results + 3, in[i] & in[0]);
  atomicMax(results + 4, in[i]);
}

template <class T>
void check_atomics(std::mt19937_64& random) {
  constexpr std::size_t kCount = 5 * 96;
  Array<T> in(kCount), results(5), before(kCount);
  T expected[5] = {T{kCount}, 0, 0, 0, 0};
  for (std::size_t i = 0; i < kCount; ++i) {
    in[i] = static_cast<T>(random());
    expected[1] += in[i];
    expected[2] ^= in[i];
    expected[3] |= in[i] & in[0];
    expected[4] = std::max(expected[4], in[i]);
  }
  run_kernel(use_atomics<T>, 5, 96, 0, in.data(), results.data(), before.data());
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(results[i], expected[i]) << i;
  std::vector<T> seen(before.begin(), before.end());
  std::sort(seen.begin(), seen.end());
  for (std::size_t i = 0; i < kCount; ++i) ASSERT_EQ(seen[i], T(i));
}

TEST_F(Device, Atomics) {
  check_atomics<unsigned>(random_);
  check_atomics<unsigned long long>(random_);
}

/// The last block to come adds up what all left.
__global__ void gather_last(unsigned* parts, unsigned* count, unsigned* sum) {
  if (threadIdx.x != 0) return;
  parts[blockIdx.x] = blockIdx.x + 1;
  __threadfence();
  if (atomicAdd(count, 1u) + 1 != gridDim.x) return;
  __threadfence();
  for (unsigned i = 0; i < gridDim.x; ++i) *sum += parts[i];
}

TEST_F(Device, FencesPublish) {
  Array<unsigned> parts(6), count(1), sum(1);
  run_kernel(gather_last, 6, 32, 0, parts.data(), count.data(), sum.data());
  EXPECT_EQ(sum[0], 21u);
}

constexpr std::size_t kScalars = 14;

__global__ void compute_scalars(const uint4* in, const ulonglong2* wide,
                                unsigned long long* results) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const uint4 x = in[i];
  unsigned long long* const out = results + i * kScalars;
  out[0] = static_cast<unsigned>(
      __dp4a(static_cast<int>(x.x), static_cast<int>(x.y), static_cast<int>(x.z)));
  out[1] = __dp4a(x.x, x.y, x.z);
  out[2] = __umulhi(x.x, x.y);
  out[3] = __umul64hi(wide[i].x, wide[i].y);
  out[4] = static_cast<unsigned>(__popc(x.x));
  out[5] = static_cast<unsigned>(__popcll(wide[i].x));
  out[6] = __brev(x.x);
  out[7] = __byte_perm(x.x, x.y, x.z);
  out[8] = __funnelshift_l(x.x, x.y, x.z);
  out[9] = static_cast<unsigned>(__ffs(static_cast<int>(x.x)));
  out[10] = static_cast<unsigned>(__clz(static_cast<int>(x.x)));
  out[11] = __ldg(&in[i].w);
  out[12] = __ldg(&wide[i].y);
  out[13] = blockDim.x * 1000 + gridDim.x;
}

/// Bit by bit and byte by byte.
std::array<unsigned long long, kScalars> expected_scalars(uint4 x, ulonglong2 wide) {
  std::array<unsigned long long, kScalars> out{};
  unsigned sum_signed = x.z, sum_unsigned = x.z, permuted = 0, shifted = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned a = x.x >> (8 * i) & 255, b = x.y >> (8 * i) & 255;
    const int sa = a < 128 ? static_cast<int>(a) : static_cast<int>(a) - 256;
    const int sb = b < 128 ? static_cast<int>(b) : static_cast<int>(b) - 256;
    sum_signed += static_cast<unsigned>(sa * sb);
    sum_unsigned += a * b;
    const unsigned from = x.z >> (4 * i) & 7;
    const unsigned byte = (from < 4 ? x.x >> (8 * from) : x.y >> (8 * (from - 4))) & 255;
    permuted |= byte << (8 * i);
  }
  for (unsigned bit = 0; bit < 32; ++bit) {
    const unsigned from = bit + 32 - x.z % 32;
    shifted |= ((from < 32 ? x.x >> from : x.y >> (from - 32)) & 1) << bit;
  }
  out[0] = sum_signed, out[1] = sum_unsigned;
  out[2] = static_cast<unsigned long long>(x.x) * x.y >> 32;
  // By halves: the carries into the upper word, one after the other.
  const unsigned long long low = 0xffffffffu;
  const unsigned long long cross =
      (wide.x >> 32) * (wide.y & low) + ((wide.x & low) * (wide.y & low) >> 32);
  const unsigned long long middle = (wide.x & low) * (wide.y >> 32) + (cross & low);
  out[3] = (wide.x >> 32) * (wide.y >> 32) + (cross >> 32) + (middle >> 32);
  out[9] = 0, out[10] = 32;
  for (unsigned bit = 0; bit < 64; ++bit) {
    out[5] += wide.x >> bit & 1;
    if (bit >= 32 || (x.x >> bit & 1) == 0) continue;
    out[4] += 1;
    out[6] |= 1u << (31 - bit);
    if (out[9] == 0) out[9] = bit + 1;
    out[10] = 31 - bit;
  }
  out[7] = permuted, out[8] = shifted, out[11] = x.w, out[12] = wide.y;
  out[13] = 64 * 1000 + 4;
  return out;
}

TEST_F(Device, ScalarInstructions) {
  constexpr std::size_t kCount = 4 * 64;
  Array<uint4> in(kCount);
  Array<ulonglong2> wide(kCount);
  Array<unsigned long long> out(kCount * kScalars);
  const unsigned edges[] = {0, 1, 0x80000000u, 0x7fffffffu, 0xffffffffu, 0x80808080u, 31, 32};
  const auto word = [&](std::size_t i) {
    return i % 3 == 0 ? edges[random_() % 8] : static_cast<unsigned>(random_());
  };
  for (std::size_t i = 0; i < kCount; ++i) {
    // The upper bit of a byte permutation's selectors is not part of what is promised.
    in[i] = make_uint4(word(i), word(i / 3), word(i / 9) & 0x7777u, word(i));
    wide[i] = make_ulonglong2(random_() << (i % 5), i % 7 == 0 ? ~0ull : random_());
  }
  run_kernel(compute_scalars, 4, 64, 0, in.data(), wide.data(), out.data());
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto expected = expected_scalars(in[i], wide[i]);
    for (std::size_t j = 0; j < kScalars; ++j) {
      ASSERT_EQ(out[i * kScalars + j], expected[j]) << "result " << j << " of input " << i;
    }
  }
}

}  // namespace
}  // namespace beaverpond::cuda
