// Two-dimensional convolutions of ring words (mod 2^64) and their gradients on the CPU, as matrix
// products over patches, which are read where the images lie. Layouts as in beaverpond/shape.h:
// images and results are [batch, height, width, channel], weights [kernel, kernel, in_channels,
// out_channels].
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "beaverpond/shape.h"
#include "kernels/gemm/gemm.h"

namespace beaverpond {

/// Bytes of scratch memory (64-byte aligned) for each of the three functions below: a few MiB,
/// whatever the batch.
std::size_t conv2d_workspace_size_bytes(const Conv2dShape& shape);

/// All three: outputs are written, or added to when `accumulate`; they overlap no input. One
/// thread, no allocation. A kernel larger than the padded image, or a stride of zero, is a broken
/// invariant.

/// result = convolution of images with weights (a correlation: the kernel is not flipped).
void conv2d(const Conv2dShape& shape, const std::uint64_t* images, const std::uint64_t* weights,
            std::uint64_t* result, bool accumulate, std::span<std::byte> workspace,
            GemmKernel kernel = GemmKernel::kAuto);

/// weight_gradient[ky,kx,i,o] = sum over batch and output pixels of the image word under (ky,kx,i)
/// times gradient[.,y,x,o]. `gradient` has the result's shape.
void conv2d_grad_weight(const Conv2dShape& shape, const std::uint64_t* images,
                        const std::uint64_t* gradient, std::uint64_t* weight_gradient,
                        bool accumulate, std::span<std::byte> workspace,
                        GemmKernel kernel = GemmKernel::kAuto);

/// image_gradient = the transposed convolution of `gradient` (the result's shape) with weights.
void conv2d_grad_input(const Conv2dShape& shape, const std::uint64_t* gradient,
                       const std::uint64_t* weights, std::uint64_t* image_gradient, bool accumulate,
                       std::span<std::byte> workspace, GemmKernel kernel = GemmKernel::kAuto);

/// The two inputs of one of these functions, in its order.
struct ConvFactors {
  const std::uint64_t *x, *y;
};

/// The sums over one or two pairs of inputs, with one pass over the output.
void conv2d_sum(const Conv2dShape& shape, std::span<const ConvFactors> factors,
                std::uint64_t* result, bool accumulate, std::span<std::byte> workspace,
                GemmKernel kernel = GemmKernel::kAuto);
void conv2d_grad_weight_sum(const Conv2dShape& shape, std::span<const ConvFactors> factors,
                            std::uint64_t* weight_gradient, bool accumulate,
                            std::span<std::byte> workspace, GemmKernel kernel = GemmKernel::kAuto);
void conv2d_grad_input_sum(const Conv2dShape& shape, std::span<const ConvFactors> factors,
                           std::uint64_t* image_gradient, bool accumulate,
                           std::span<std::byte> workspace, GemmKernel kernel = GemmKernel::kAuto);

}  // namespace beaverpond
