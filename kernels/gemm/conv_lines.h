// The gradient of a convolution's images with pixels in the lanes, for images of few channels:
// when, and why, kernels/README.md. Internal to kernels/gemm.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gemm/operand.h"

namespace beaverpond::internal {

/// The largest kernel, and rows of weights (kernel * in_channels), that it takes.
inline constexpr std::size_t kMostLineKernel = 16;
inline constexpr std::size_t kMostLineRows = 64;
/// Pixels of a line, and words of the lines of one term, that are at work at a time: they stay in
/// L2.
inline constexpr std::size_t kLinePixels = 96;
inline constexpr std::size_t kLineWords = std::size_t{1} << 14;
/// Scratch memory: the lines, sums of two rows of the images with zeros around, one vector.
inline constexpr std::size_t kLineMargin = 16;
inline constexpr std::size_t kLineSums = kLinePixels + 2 * kLineMargin;
inline constexpr std::size_t kLinesWorkspaceWords =
    kMostTerms * kLineWords + (2 * kMostLineRows + 1) * kLineSums;

/// images += the transposed convolutions of the terms. Layouts as in conv.h; a kernel of at most
/// kMostLineKernel, kernel * in_channels at most kMostLineRows, nothing is zero but the padding.
struct LinesTask {
  struct Term {
    const std::uint64_t *gradient, *weights;
  };
  Term terms[kMostTerms];
  std::size_t term_count;
  std::uint64_t* images;
  std::size_t batch, height, width, in_channels;
  std::size_t out_height, out_width, out_channels;
  std::size_t kernel, stride, pad_before;
  std::uint64_t* workspace;  ///< kLinesWorkspaceWords (a matrix product's suffice), aligned to 64
};

/// On vpmullq.
void add_grad_input_by_lines(const LinesTask& task);

}  // namespace beaverpond::internal
