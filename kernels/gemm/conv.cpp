#include "kernels/gemm/conv.h"

#include <algorithm>
#include <cstring>

#include "beaverpond/check.h"

namespace beaverpond {
namespace {

/// A block of patches is at most 1 MiB, so that it stays in L2 between being written and read; at
/// least 24 rows, so that packing the weights for it pays.
constexpr std::size_t kBlockWords = std::size_t{1} << 17;
constexpr std::size_t kLeastRows = 24;
constexpr std::size_t kMostRows = 1020;

std::size_t round_up(std::size_t size_bytes) {
  return (size_bytes + 63) / 64 * 64;
}

/// How the patches (rows of the im2col matrix) are cut into blocks, and where a block lies.
struct Blocks {
  std::size_t total_rows;  ///< patches: one per output pixel
  std::size_t columns;
  std::size_t pitch;  ///< words from row to row; never a multiple of 64: few cache sets
  std::size_t rows;   ///< rows of a full block

  explicit Blocks(const Conv2dShape& shape)
      : total_rows(shape.patch_rows()), columns(shape.patch_columns()) {
    pitch = columns % 64 == 0 ? columns + 8 : columns;
    rows = std::clamp(kBlockWords / pitch, kLeastRows, kMostRows);
    rows = std::max<std::size_t>(std::min(rows, total_rows), 1);
  }

  std::size_t size_bytes() const { return round_up(rows * pitch * 8); }
  MatrixView view(const std::uint64_t* data, std::size_t used_rows) const {
    return {data, used_rows, columns, pitch, 1};
  }
};

struct Workspace {
  std::uint64_t* patches;
  std::span<std::byte> gemm;
};

Workspace split(const Conv2dShape& shape, const Blocks& blocks, std::span<std::byte> workspace) {
  BP_CHECK(workspace.size() >= conv2d_workspace_size_bytes(shape) &&
               reinterpret_cast<std::uintptr_t>(workspace.data()) % 64 == 0,
           "the workspace of a convolution is too small or not aligned");
  return {reinterpret_cast<std::uint64_t*>(workspace.data()),
          workspace.subspan(blocks.size_bytes())};
}

void check_shape(const Conv2dShape& shape) {
  BP_CHECK(shape.stride > 0, "the stride of a convolution is zero");
  const std::uint64_t padding = std::uint64_t{shape.pad_before} + shape.pad_after;
  BP_CHECK(shape.kernel > 0 && shape.kernel <= shape.height + padding &&
               shape.kernel <= shape.width + padding,
           "the kernel of a convolution is empty or larger than the padded image");
}

/// One kernel row of one patch: `before` zeros, `inside` words of the images from `offset`, `after`
/// zeros. Consecutive both in the patch and in the image, because channels are innermost.
struct Strip {
  std::size_t before, inside, after, offset;
};

/// Calls visit(strip, words from the start of the block) for every strip of patches
/// [first, first + rows), in order.
template <class Visit>
void for_each_strip(const Conv2dShape& shape, const Blocks& blocks, std::size_t first,
                    std::size_t rows, Visit visit) {
  const std::size_t channels = shape.in_channels;
  const std::int64_t height = shape.height, width = shape.width, kernel = shape.kernel;
  const std::size_t out_width = shape.out_width(), out_height = shape.out_height();
  const std::size_t strip_words = shape.kernel * channels;
  std::size_t x = first % out_width;
  std::size_t y = first / out_width % out_height;
  std::size_t image = first / out_width / out_height;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::int64_t left = static_cast<std::int64_t>(x * shape.stride) - shape.pad_before;
    const std::int64_t top = static_cast<std::int64_t>(y * shape.stride) - shape.pad_before;
    const std::int64_t skip = std::clamp<std::int64_t>(-left, 0, kernel);
    const std::int64_t end = std::clamp<std::int64_t>(width - left, skip, kernel);
    for (std::int64_t ky = 0; ky < kernel; ++ky) {
      Strip strip{strip_words, 0, 0, 0};
      if (top + ky >= 0 && top + ky < height && end > skip) {
        strip.before = static_cast<std::size_t>(skip) * channels;
        strip.inside = static_cast<std::size_t>(end - skip) * channels;
        strip.after = strip_words - strip.before - strip.inside;
        strip.offset = ((image * shape.height + static_cast<std::size_t>(top + ky)) * shape.width +
                        static_cast<std::size_t>(left + skip)) *
                       channels;
      }
      visit(strip, row * blocks.pitch + static_cast<std::size_t>(ky) * strip_words);
    }
    if (++x == out_width) {
      x = 0;
      if (++y == out_height) y = 0, ++image;
    }
  }
}

/// Strips are often of 3 to 15 words, where a call of memcpy costs more than the copy.
inline void copy_words(std::uint64_t* to, const std::uint64_t* from, std::size_t count) {
  if (count >= 32) {
    std::memcpy(to, from, count * 8);
    return;
  }
  for (; count >= 4; count -= 4, to += 4, from += 4) std::memcpy(to, from, 32);
  for (std::size_t i = 0; i < count; ++i) to[i] = from[i];
}

void gather_patches(const Conv2dShape& shape, const Blocks& blocks, std::size_t first,
                    std::size_t rows, const std::uint64_t* images, std::uint64_t* patches) {
  for_each_strip(shape, blocks, first, rows, [&](const Strip& strip, std::size_t at) {
    std::uint64_t* to = patches + at;
    for (std::size_t i = 0; i < strip.before; ++i) to[i] = 0;
    to += strip.before;
    copy_words(to, images + strip.offset, strip.inside);
    to += strip.inside;
    for (std::size_t i = 0; i < strip.after; ++i) to[i] = 0;
  });
}

void scatter_patches(const Conv2dShape& shape, const Blocks& blocks, std::size_t first,
                     std::size_t rows, const std::uint64_t* patches, std::uint64_t* images) {
  for_each_strip(shape, blocks, first, rows, [&](const Strip& strip, std::size_t at) {
    const std::uint64_t* from = patches + at + strip.before;
    std::uint64_t* to = images + strip.offset;
    for (std::size_t i = 0; i < strip.inside; ++i) to[i] += from[i];
  });
}

}  // namespace

std::size_t conv2d_workspace_size_bytes(const Conv2dShape& shape) {
  check_shape(shape);
  return Blocks(shape).size_bytes() + gemm_workspace_size_bytes();
}

void conv2d(const Conv2dShape& shape, const std::uint64_t* images, const std::uint64_t* weights,
            std::uint64_t* result, bool accumulate, std::span<std::byte> workspace,
            GemmKernel kernel) {
  check_shape(shape);
  const Blocks blocks(shape);
  const auto [patches, scratch] = split(shape, blocks, workspace);
  const std::size_t channels = shape.out_channels;
  const MatrixView weight_matrix = row_major(weights, blocks.columns, channels);
  for (std::size_t first = 0; first < blocks.total_rows; first += blocks.rows) {
    const std::size_t rows = std::min(blocks.rows, blocks.total_rows - first);
    gather_patches(shape, blocks, first, rows, images, patches);
    gemm(blocks.view(patches, rows), weight_matrix, result + first * channels, channels, accumulate,
         scratch, kernel);
  }
}

void conv2d_grad_weight(const Conv2dShape& shape, const std::uint64_t* images,
                        const std::uint64_t* gradient, std::uint64_t* weight_gradient,
                        bool accumulate, std::span<std::byte> workspace, GemmKernel kernel) {
  check_shape(shape);
  const Blocks blocks(shape);
  const auto [patches, scratch] = split(shape, blocks, workspace);
  const std::size_t channels = shape.out_channels;
  if (blocks.total_rows == 0 && !accumulate) {
    std::fill_n(weight_gradient, blocks.columns * channels, 0);
  }
  for (std::size_t first = 0; first < blocks.total_rows; first += blocks.rows) {
    const std::size_t rows = std::min(blocks.rows, blocks.total_rows - first);
    gather_patches(shape, blocks, first, rows, images, patches);
    gemm(blocks.view(patches, rows).transposed(),
         row_major(gradient + first * channels, rows, channels), weight_gradient, channels,
         accumulate || first > 0, scratch, kernel);
  }
}

void conv2d_grad_input(const Conv2dShape& shape, const std::uint64_t* gradient,
                       const std::uint64_t* weights, std::uint64_t* image_gradient, bool accumulate,
                       std::span<std::byte> workspace, GemmKernel kernel) {
  check_shape(shape);
  const Blocks blocks(shape);
  const auto [patches, scratch] = split(shape, blocks, workspace);
  const std::size_t channels = shape.out_channels;
  if (!accumulate) std::fill_n(image_gradient, shape.image_shape().count(), 0);
  const MatrixView weights_transposed = row_major(weights, blocks.columns, channels, true);
  for (std::size_t first = 0; first < blocks.total_rows; first += blocks.rows) {
    const std::size_t rows = std::min(blocks.rows, blocks.total_rows - first);
    gemm(row_major(gradient + first * channels, rows, channels), weights_transposed, patches,
         blocks.pitch, false, scratch, kernel);
    scatter_patches(shape, blocks, first, rows, patches, image_gradient);
  }
}

}  // namespace beaverpond
