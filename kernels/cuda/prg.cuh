// Pseudorandom streams on the device, word for word those of kernels/cpu/prg.h. ChaCha20 is one
// block of 64 bytes a thread; AES-128 is bitsliced, 32 blocks of 16 bytes a thread, without tables,
// so that no address depends on a key.
#pragma once

#include <cstdint>

#include "kernels/cuda/bits.cuh"
#include "kernels/cuda/device.h"
#include "kernels/cuda/fast_divide.cuh"
#include "kernels/cuda/stream_key.h"
#include "kernels/cuda/stream_use.h"
#include "kernels/math/aes128.h"
#include "kernels/math/chacha20.h"

namespace beaverpond::cuda {

/// Where a stream starts: all of it public but for the key, which lies in device memory.
struct ChaChaStream {
  const ChaChaKey* key;
  std::uint64_t index;
  std::uint32_t counter;  ///< of the first 64-byte block
};
struct AesStream {
  const AesKey* key;
  std::uint64_t index;
  std::uint64_t counter;  ///< of the first 16-byte block
};

/// Bytes that a stream meets. Stream and memory may both be records of which only a piece is
/// wanted: unit i of 64 bytes is unit i mod piece of record i / piece. The default is one piece.
struct StreamTarget {
  static constexpr std::uint32_t kWhole = 0x7fffffffu;
  static constexpr std::uint32_t kNowhere = 0xffffffffu;

  std::uint8_t* data = nullptr;  ///< where the first record's piece goes; aligned to 8 bytes
  bool odd_word = false;         ///< data is not aligned to 16 bytes
  std::uint64_t size_bytes = 0;  ///< from data on: what lies behind is not touched
  std::uint32_t units = 0;       ///< 64-byte units in all
  FastDivide piece{kWhole};
  std::uint32_t source_record = 0;  ///< units from one record to the next in the stream
  std::uint32_t target_record = 0;  ///< and in memory

  __device__ __forceinline__ std::uint64_t place(std::uint32_t unit, std::uint32_t record) const {
    const std::uint32_t index = piece.split(unit);  // unit is now the record
    return std::uint64_t{unit} * record + index;
  }
  __device__ __forceinline__ std::uint64_t source(std::uint32_t unit) const {
    return place(unit, source_record);
  }
  __device__ __forceinline__ std::uint64_t target(std::uint32_t unit) const {
    return place(unit, target_record);
  }
};

template <StreamUse use>
__device__ __forceinline__ std::uint64_t combine(std::uint64_t old, std::uint64_t word) {
  switch (use) {
    case StreamUse::kFill: return word;
    case StreamUse::kAdd: return old + word;
    case StreamUse::kSubtract: return old - word;
    default: return old ^ word;
  }
}

/// Puts bytes [at, at + 16) of the stream in place; the end may cut them short.
template <StreamUse use>
__device__ __forceinline__ void put16(const StreamTarget& target, std::uint64_t at, uint4 quad) {
  if (at >= target.size_bytes) return;
  std::uint64_t low = (std::uint64_t{quad.y} << 32) | quad.x;
  std::uint64_t high = (std::uint64_t{quad.w} << 32) | quad.z;
  if (at + 16 <= target.size_bytes && target.odd_word) {
    auto* const place = reinterpret_cast<std::uint64_t*>(target.data + at);
    place[0] = use == StreamUse::kFill ? low : combine<use>(place[0], low);
    place[1] = use == StreamUse::kFill ? high : combine<use>(place[1], high);
    return;
  }
  if (at + 16 <= target.size_bytes) {
    auto* const place = reinterpret_cast<ulonglong2*>(target.data + at);
    if (use != StreamUse::kFill) {
      const ulonglong2 old = *place;
      low = combine<use>(old.x, low);
      high = combine<use>(old.y, high);
    }
    *place = make_ulonglong2(low, high);
    return;
  }
  if constexpr (use == StreamUse::kFill) {
    for (std::uint64_t byte = 0; at + byte < target.size_bytes; ++byte) {
      const std::uint64_t word = byte < 8 ? low : high;
      target.data[at + byte] = static_cast<std::uint8_t>(word >> (8 * (byte & 7)));
    }
  } else {  // whole words only
    auto* const place = reinterpret_cast<std::uint64_t*>(target.data + at);
    *place = combine<use>(*place, low);
  }
}

/// Swaps rows and columns of the 4 x 4 matrix of 16-byte quads that four neighbouring lanes hold.
__device__ __forceinline__ void transpose_quads(uint4 (&quad)[4]) {
  const unsigned lane = threadIdx.x & 3u;
#pragma unroll
  for (unsigned width = 1; width < 4; width <<= 1) {
    const bool upper = (lane & width) != 0;
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      if ((i & width) != 0) continue;
      // The lower lane gives its quad i + width for the upper lane's quad i.
      uint4& low = quad[i];
      uint4& high = quad[i | width];
      uint4 give = upper ? low : high;
      give.x = __shfl_xor_sync(0xffffffffu, give.x, static_cast<int>(width));
      give.y = __shfl_xor_sync(0xffffffffu, give.y, static_cast<int>(width));
      give.z = __shfl_xor_sync(0xffffffffu, give.z, static_cast<int>(width));
      give.w = __shfl_xor_sync(0xffffffffu, give.w, static_cast<int>(width));
      (upper ? low : high) = give;
    }
  }
}

/// One block of 64 bytes a thread; then the quads of four neighbouring lanes change places, so that
/// a lane has its own quad of each of the four blocks: 64 bytes together a store.
__device__ __forceinline__ void chacha20_quads(const ChaChaKey& key, std::uint32_t counter,
                                               std::uint64_t index, uint4 (&quad)[4]) {
  std::uint32_t input[16];
  std::uint32_t state[16];
  math::chacha20_input<std::uint32_t>(key.words, counter, index, input);
  math::chacha20_block<std::uint32_t>(input, state);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    quad[i] = make_uint4(state[4 * i], state[4 * i + 1], state[4 * i + 2], state[4 * i + 3]);
  }
  transpose_quads(quad);
}

/// One thread a 64-byte block, rounded up to whole warps.
template <StreamUse use>
__global__ void __launch_bounds__(128) chacha20_stream(ChaChaStream stream, StreamTarget target) {
  const std::uint32_t unit = blockIdx.x * blockDim.x + threadIdx.x;
  uint4 quad[4];
  chacha20_quads(*stream.key, stream.counter + static_cast<std::uint32_t>(target.source(unit)),
                 stream.index, quad);
  const std::uint64_t mine =
      unit < target.units ? target.target(unit) * 64 : ~std::uint64_t{0} - 64;
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) {
    const std::uint64_t at =
        __shfl_sync(0xffffffffu, mine, static_cast<int>((threadIdx.x & 28u) + i));
    put16<use>(target, at + (threadIdx.x & 3u) * 16, quad[i]);
  }
}

/// The AES state before the first round key: planes of the bits of 32 blocks, which are
/// LE64(counter_of(j)) and LE64(high).
template <class CounterOf>
__device__ __forceinline__ void aes128_counter_planes(const CounterOf& counter_of,
                                                      std::uint64_t high,
                                                      math::AesPlanes<std::uint32_t>& state) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    std::uint32_t rows[32];
#pragma unroll
    for (unsigned j = 0; j < 32; ++j) {
      rows[j] = static_cast<std::uint32_t>(counter_of(j) >> (32 * half));
    }
    transpose32(rows);
#pragma unroll
    for (int bit = 0; bit < 32; ++bit) state.byte[4 * half + bit / 8][bit % 8] = rows[bit];
  }
#pragma unroll
  for (int bit = 0; bit < 64; ++bit) {
    state.byte[8 + bit / 8][bit % 8] = 0u - static_cast<std::uint32_t>((high >> bit) & 1);
  }
}

/// Encrypts the blocks, and calls put(j, block) for each of the 32.
template <class Put>
__device__ __forceinline__ void aes128_encrypt_blocks(math::AesPlanes<std::uint32_t>& state,
                                                      const AesKey& key, const Put& put) {
  math::aes128_encrypt(state, key.round_keys);
  std::uint32_t word[4][32];
#pragma unroll
  for (int quarter = 0; quarter < 4; ++quarter) {
#pragma unroll
    for (int bit = 0; bit < 32; ++bit) {
      word[quarter][bit] = state.byte[4 * quarter + bit / 8][bit % 8];
    }
    transpose32(word[quarter]);
  }
#pragma unroll
  for (unsigned j = 0; j < 32; ++j) {
    put(j, make_uint4(word[0][j], word[1][j], word[2][j], word[3][j]));
  }
}

/// Of a block of 128 threads: where each of a warp's 256 units of 64 bytes comes from and goes to.
inline constexpr std::uint32_t kAesSharedBytes = 4 * 256 * sizeof(uint2);

/// 32 blocks of 16 bytes a thread; lane l of a warp has blocks l, l + 32, ..: neighbours in memory
/// are neighbouring lanes.
template <StreamUse use>
__global__ void __launch_bounds__(128) aes128_stream(AesStream stream, StreamTarget target) {
  const std::uint32_t warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  const std::uint32_t first = threadIdx.x / 32 * 256 + (threadIdx.x & 31u) / 4;
  const std::uint32_t part = threadIdx.x & 3u;  // block within its unit
  uint2* const units = dynamic_shared<uint2>();
  for (std::uint32_t i = threadIdx.x & 31u; i < 256; i += 32) {
    const std::uint32_t unit = warp * 256 + i;
    units[threadIdx.x / 32 * 256 + i] =
        make_uint2(static_cast<std::uint32_t>(target.source(unit)),
                   unit < target.units ? static_cast<std::uint32_t>(target.target(unit))
                                       : StreamTarget::kNowhere);
  }
  __syncwarp();
  const std::uint64_t low = stream.key->low + stream.counter;
  const std::uint64_t high = stream.key->high ^ stream.index;
  math::AesPlanes<std::uint32_t> state;
  const auto counter_of = [&](unsigned j) {
    return low + std::uint64_t{units[first + 8 * j].x} * 4 + part;
  };
  aes128_counter_planes(counter_of, high, state);
  aes128_encrypt_blocks(state, *stream.key, [&](unsigned j, uint4 block) {
    const std::uint32_t unit = units[first + 8 * j].y;
    if (unit == StreamTarget::kNowhere) return;
    put16<use>(target, std::uint64_t{unit} * 64 + part * 16, block);
  });
}

}  // namespace beaverpond::cuda
