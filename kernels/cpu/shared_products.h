// Matrix products and convolutions that the threads of a crew share. Every result is the same
// whatever their number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/backend.h"
#include "kernels/cpu/crew.h"
#include "kernels/gemm/conv.h"
#include "kernels/gemm/gemm.h"

namespace beaverpond::cpu {

std::size_t shared_gemm_size_bytes(const Crew& crew);
std::size_t shared_conv_size_bytes(const Crew& crew, ConvKind kind, const Conv2dShape& shape);

/// As gemm_sum() and conv2d_sum() and its gradients, with scratch memory of the sizes above,
/// aligned to 64 bytes. Small products stay on the caller's thread.
void shared_gemm(Crew& crew, std::span<const Factors> factors, std::uint64_t* c, std::size_t ldc,
                 bool accumulate, std::span<std::byte> scratch);
void shared_conv(Crew& crew, ConvKind kind, const Conv2dShape& shape,
                 std::span<const ConvFactors> factors, std::uint64_t* out, bool accumulate,
                 std::span<std::byte> scratch);

}  // namespace beaverpond::cpu
