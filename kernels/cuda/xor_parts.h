// Opening a sharing of bits after an all-gather.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

#include "beaverpond/result.h"

namespace beaverpond::cuda {

/// out[i] := the XOR over all players p of parts[p * out.size() + i]. Device memory; the two do not
/// overlap. Stream-ordered. Errors: kDeviceFailed.
Result<void> xor_parts(std::span<const std::uint64_t> parts, int players,
                       std::span<std::uint64_t> out, cudaStream_t stream);

}  // namespace beaverpond::cuda
