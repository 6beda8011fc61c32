// Streams of which each block of 64 elements has one (kernels/securenn_backend.h): the beginning of
// stream index + r is record r, and records lie one after the other. Otherwise as prg.cuh.
#pragma once

#include <cstdint>

#include "kernels/cuda/prg.cuh"

namespace beaverpond::cuda {

/// Bytes of a record are a multiple of what four lanes make of AES together.
inline constexpr std::uint32_t kAesGroupUnits = 32;
inline constexpr std::uint32_t kAesGroupBytes = 64 * kAesGroupUnits;

/// Records of streams. Units are 64 bytes.
struct StreamRecords {
  std::uint8_t* data = nullptr;  ///< aligned to 16 bytes
  std::uint32_t units = 0;       ///< of all records
  FastDivide record_units;
};

/// One thread a unit.
__global__ void __launch_bounds__(128)
    chacha20_records(const ChaChaStream stream, const StreamRecords records) {
  const std::uint32_t unit = blockIdx.x * blockDim.x + threadIdx.x;
  std::uint32_t record = unit;
  const std::uint32_t counter = records.record_units.split(record);
  uint4 quad[4];
  chacha20_quads(*stream.key, stream.counter + counter, stream.index + record, quad);
  auto* const out = reinterpret_cast<uint4*>(records.data);
#pragma unroll
  for (std::uint32_t i = 0; i < 4; ++i) {
    const std::uint32_t at = (unit & ~3u) + i;
    if (at < records.units) out[std::uint64_t{at} * 4 + (threadIdx.x & 3u)] = quad[i];
  }
}

/// Four lanes kAesGroupUnits units, all of one record: lane l of them has 16-byte block l of each.
__global__ void __launch_bounds__(128)
    aes128_records(const AesStream stream, const StreamRecords records) {
  const std::uint32_t first = (blockIdx.x * blockDim.x + threadIdx.x) / 4 * kAesGroupUnits;
  const std::uint32_t part = threadIdx.x & 3u;
  std::uint32_t record = first;
  const std::uint32_t counter = records.record_units.split(record) * 4 + part;
  const std::uint64_t low = stream.key->low + stream.counter + counter;
  math::AesPlanes<std::uint32_t> state;
  aes128_counter_planes([&](unsigned j) { return low + 4 * j; },
                        stream.key->high ^ (stream.index + record), state);
  uint4* const out = reinterpret_cast<uint4*>(records.data) + std::uint64_t{first} * 4 + part;
  aes128_encrypt_blocks(state, *stream.key, [&](unsigned j, uint4 block) {
    if (first < records.units) out[4 * j] = block;
  });
}

}  // namespace beaverpond::cuda
