#include <algorithm>

#include "kernels/cuda/conv_operands.h"
#include "kernels/cuda/products.cuh"

namespace beaverpond::cuda {
namespace {

std::uint32_t index(std::uint64_t size) {
  BP_CHECK(size < std::uint64_t{1} << 31, "a convolution has fewer than 2^31 patches and taps");
  return static_cast<std::uint32_t>(size);
}

}  // namespace

void convolve(Work& work, const ProductOptions& options, ConvKind kind, const Conv2dShape& s,
              const std::uint64_t* x, const std::uint64_t* y, std::uint64_t* out, bool accumulate,
              cudaStream_t stream) {
  const std::uint32_t pixels = index(s.patch_rows());
  const std::uint32_t taps = index(s.patch_columns());
  switch (kind) {
    case ConvKind::kForward: {
      const MatrixOperand weights{y, 1, s.out_channels, false};
      multiply_any(work, options, {pixels, s.out_channels, taps},
                   PatchOperand{patches_of(s, x), true}, weights, out, accumulate, stream);
      return;
    }
    case ConvKind::kGradWeight: {
      const MatrixOperand gradient{y, 1, s.out_channels, false};
      multiply_any(work, options, {taps, s.out_channels, pixels},
                   TapOperand{patches_of(s, x), false}, gradient, out, accumulate, stream);
      return;
    }
    case ConvKind::kGradInput: {
      const std::uint32_t image_pixels = index(std::uint64_t{s.batch} * s.height * s.width);
      const std::uint32_t depth = index(std::uint64_t{s.kernel} * s.kernel * s.out_channels);
      const WeightOperand weights{y, s.in_channels, FastDivide(s.out_channels), true};
      multiply_any(work, options, {image_pixels, s.in_channels, depth}, gradient_of(s, x), weights,
                   out, accumulate, stream);
      return;
    }
  }
}

}  // namespace beaverpond::cuda
