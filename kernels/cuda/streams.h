// Pseudorandom streams on a device: kernels/cuda/prg.cuh started from a seed.
#pragma once

#include <cstdint>

#include "beaverpond/seed.h"
#include "kernels/cuda/stream_use.h"
#include "kernels/cuda/work.h"

namespace beaverpond::cuda {

/// A stream, from `offset_bytes` (a multiple of 64) on.
struct StreamStart {
  const Seed* seed = nullptr;
  PrgKind prg = PrgKind::kChaCha20;
  std::uint64_t index = 0;
  std::uint64_t offset_bytes = 0;
};

/// Memory that a stream meets: `pieces` pieces of `piece_bytes` (a multiple of 64), one a record
/// both in the stream and in memory. Nothing behind data + size_bytes is touched.
struct StreamPieces {
  std::uint8_t* data = nullptr;
  std::uint64_t size_bytes = 0;
  std::uint64_t pieces = 1;
  std::uint64_t piece_bytes = 0;
  std::uint64_t source_record_bytes = 0;
  std::uint64_t target_record_bytes = 0;
};
/// One piece: `size_bytes` of the stream, as they come.
StreamPieces whole(void* data, std::uint64_t size_bytes);

void run_stream(Work& work, const StreamStart& start, StreamUse use, const StreamPieces& pieces,
                cudaStream_t stream);

}  // namespace beaverpond::cuda
