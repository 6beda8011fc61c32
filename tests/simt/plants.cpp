// Kernels with one planted error each, and the same kernels without it. Run as
//   plants NAME clean      must print nothing and return 0
//   plants NAME planted    must be stopped: by a sanitizer, or by a result that is wrong
// The test of each is tests/simt/caught.
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kernels/cuda/device.h"
#include "simt/run.h"

namespace beaverpond::cuda {
namespace {

constexpr unsigned kThreads = 64;
constexpr unsigned kBlocks = 3;

using Word = unsigned long long;

/// out = the input reversed within its block, through shared memory of kThreads words.
template <bool planted>
__global__ void shared_overrun(const Word* in, Word* out) {
  Word* shared = dynamic_shared<Word>();
  const unsigned base = blockIdx.x * kThreads;
  shared[threadIdx.x + (planted ? 1 : 0)] = in[base + threadIdx.x];
  __syncthreads();
  out[base + threadIdx.x] = shared[kThreads - 1 - threadIdx.x];
}

template <bool planted>
__global__ void global_overrun(const Word* in, Word* out) {
  const unsigned from = blockIdx.x * kThreads + threadIdx.x;
  const unsigned to = (blockIdx.x + 1) * kThreads - threadIdx.x - (planted ? 0 : 1);
  out[to] = in[from];
}

template <bool planted>
__global__ void missing_barrier(const Word* in, Word* out) {
  Word* shared = dynamic_shared<Word>();
  const unsigned base = blockIdx.x * kThreads;
  shared[threadIdx.x] = in[base + threadIdx.x];
  if (!planted) __syncthreads();
  out[base + threadIdx.x] = shared[kThreads - 1 - threadIdx.x];
}

/// The first barrier is there; the one before shared memory is written again is not.
template <bool planted>
__global__ void missing_second_barrier(const Word* in, Word* out) {
  Word* shared = dynamic_shared<Word>();
  const unsigned base = blockIdx.x * kThreads;
  shared[threadIdx.x] = 0;
  __syncthreads();
  const Word zero = shared[(threadIdx.x + 1) % kThreads];
  if (!planted) __syncthreads();
  shared[threadIdx.x] = in[base + threadIdx.x] + zero;
  __syncthreads();
  out[base + threadIdx.x] = shared[kThreads - 1 - threadIdx.x];
}

/// Reversed within warps and then between them; shuffles and votes alone order no memory.
template <bool planted>
__global__ void missing_warp_barrier(const Word* in, Word* out) {
  Word* shared = dynamic_shared<Word>();
  const unsigned base = blockIdx.x * kThreads, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  shared[threadIdx.x] = in[base + threadIdx.x];
  if (planted) {
    __any_sync(0xffffffffu, 1);
  } else {
    __syncwarp();
  }
  const unsigned to = (kThreads / 32 - 1 - warp) * 32 + lane;
  out[base + to] = shared[warp * 32 + 31 - lane];
}

template <bool planted>
__global__ void missing_copy_wait(const Word* in, Word* out) {
  Word* shared = dynamic_shared<Word>();
  const unsigned base = blockIdx.x * kThreads;
  if (threadIdx.x < kThreads / 2) {
    cp_async_16(shared + 2 * threadIdx.x, in + base + 2 * threadIdx.x, true);
  }
  cp_async_commit();
  if (!planted) cp_async_wait<0>();
  __syncthreads();
  out[base + threadIdx.x] = shared[kThreads - 1 - threadIdx.x];
}

/// The copies are waited for, but only by the threads that made them.
template <bool planted>
__global__ void missing_copy_barrier(const Word* in, Word* out) {
  Word* shared = dynamic_shared<Word>();
  const unsigned base = blockIdx.x * kThreads;
  if (threadIdx.x < kThreads / 2) {
    cp_async_16(shared + 2 * threadIdx.x, in + base + 2 * threadIdx.x, true);
  }
  cp_async_commit();
  cp_async_wait<0>();
  if (!planted) __syncthreads();
  out[base + threadIdx.x] = shared[kThreads - 1 - threadIdx.x];
}

/// A wait that counts one group too many as allowed to be unfinished.
template <bool planted>
__global__ void short_copy_wait(const Word* in, Word* out) {
  Word* shared = dynamic_shared<Word>();
  const unsigned base = blockIdx.x * kThreads;
  for (unsigned half = 0; half < 2; ++half) {
    const unsigned at = half * kThreads / 2 + 2 * threadIdx.x;
    if (threadIdx.x < kThreads / 4) cp_async_16(shared + at, in + base + at, true);
    cp_async_commit();
  }
  cp_async_wait<planted ? 1 : 0>();
  __syncthreads();
  out[base + threadIdx.x] = shared[kThreads - 1 - threadIdx.x];
}

/// Every block counts itself in one word, and stores its part of the result.
template <bool planted>
__global__ void block_race(const Word* in, Word* out) {
  Word* const count = out + kBlocks * kThreads;
  if (threadIdx.x == 0) {
    if (planted) {
      *count += 1;
    } else {
      atomicAdd(count, 1ull);
    }
  }
  out[(blockIdx.x + 1) * kThreads - 1 - threadIdx.x] = in[blockIdx.x * kThreads + threadIdx.x];
}

/// The block that comes last gathers what all wrote.
template <bool planted>
__global__ void missing_fence(const Word* in, Word* out) {
  Word* const count = out + kBlocks * kThreads;
  if (threadIdx.x != 0) return;
  Word* const part = count + 1 + blockIdx.x;
  *part = blockIdx.x;
  if (!planted) __threadfence();
  if (atomicAdd(count, 1ull) + 1 != gridDim.x) return;
  if (!planted) __threadfence();
  Word wrong = 0;
  for (unsigned i = 0; i < kBlocks; ++i) wrong |= count[1 + i] ^ i;
  for (unsigned i = 0; i < kBlocks * kThreads; ++i) {
    out[i] = in[i / kThreads * kThreads + kThreads - 1 - i % kThreads] + wrong;
  }
}

/// A barrier that half the threads of a block never reach.
template <bool planted>
__global__ void divergent_barrier(const Word* in, Word* out) {
  Word* shared = dynamic_shared<Word>();
  const unsigned base = blockIdx.x * kThreads;
  shared[threadIdx.x] = in[base + threadIdx.x];
  if (!planted || threadIdx.x < kThreads / 2) __syncthreads();
  if (planted && threadIdx.x >= kThreads / 2) return;
  const Word mine = shared[kThreads - 1 - threadIdx.x];
  out[base + threadIdx.x] = mine;
}

/// A shuffle of the whole warp in a loop that lanes leave one by one.
template <bool planted>
__global__ void missing_lane(const Word* in, Word* out) {
  const unsigned base = blockIdx.x * kThreads, lane = threadIdx.x % 32;
  Word sum = 0;
  for (unsigned i = 0; i < (planted ? lane : 32); ++i) {
    sum += __shfl_sync(0xffffffffu, lane, static_cast<int>(i));
  }
  const Word wrong = sum - 31 * 32 / 2;
  out[base + kThreads - 1 - threadIdx.x] = in[base + threadIdx.x] + wrong;
}

using Kernel = void (*)(const Word*, Word*);

struct Plant {
  Kernel clean, planted;
  int workers = 1;
};

#define BP_PLANT(name)      \
#name, Plant {            \
    name<false>, name<true> \
  }

const std::map<std::string, Plant> kPlants = {
    {BP_PLANT(shared_overrun)},
    {BP_PLANT(global_overrun)},
    {BP_PLANT(missing_barrier)},
    {BP_PLANT(missing_second_barrier)},
    {BP_PLANT(missing_warp_barrier)},
    {BP_PLANT(missing_copy_wait)},
    {BP_PLANT(missing_copy_barrier)},
    {BP_PLANT(short_copy_wait)},
    {BP_PLANT(block_race)},
    {"block_race_on_two_threads", Plant{block_race<false>, block_race<true>, 2}},
    {BP_PLANT(missing_fence)},
    {BP_PLANT(divergent_barrier)},
    {BP_PLANT(missing_lane)},
};

/// Words the kernels above got wrong, under a few schedules.
int wrong_words(Kernel kernel, int workers) {
  const std::size_t count = kBlocks * kThreads;
  std::vector<Word> in(count);
  for (std::size_t i = 0; i < count; ++i) in[i] = i * 0x9e3779b97f4a7c15u;
  int wrong = 0;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    // In an allocation of its own size; the kernels with a counter have it and more behind.
    const bool counts = kernel != kPlants.at("global_overrun").planted;
    std::vector<Word> out(count + (counts ? 1 + kBlocks : 0));
    try {
      simt::run(simt::Options{.seed = seed, .workers = workers}, kernel, kBlocks, kThreads,
                kThreads * sizeof(Word), in.data(), out.data());
    } catch (const simt::Error& error) {
      std::fprintf(stderr, "%s\n", error.what());
      return wrong + 1;
    }
    for (std::size_t i = 0; i < count; ++i) {
      wrong += out[i] != in[i / kThreads * kThreads + kThreads - 1 - i % kThreads];
    }
  }
  return wrong;
}

}  // namespace
}  // namespace beaverpond::cuda

int main(int argc, char** argv) {
  using namespace beaverpond::cuda;
  const bool planted = argc == 3 && std::strcmp(argv[2], "planted") == 0;
  if (argc != 3 || !kPlants.contains(argv[1]) || (!planted && std::strcmp(argv[2], "clean") != 0)) {
    std::fprintf(stderr, "usage: plants NAME clean|planted\n");
    return 2;
  }
  const Plant& plant = kPlants.at(argv[1]);
  const int wrong = wrong_words(planted ? plant.planted : plant.clean, plant.workers);
  if (wrong == 0) return 0;
  std::fprintf(stderr, "%d words are wrong\n", wrong);
  return 1;
}
