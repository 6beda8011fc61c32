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
/// Words after each patch that a copy in chunks of four may overwrite.
constexpr std::size_t kSlackWords = 3;
/// Words of a strip up to which gradients are added word by word.
constexpr std::size_t kShortStrip = 16;

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
    pitch = columns + kSlackWords;
    if (pitch % 64 == 0) pitch += 8;
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

/// A strip is one kernel row of one patch: consecutive words both in the patch and in the images,
/// because channels are innermost. At an edge of the image it is `before` zeros, `inside` words of
/// the images from `offset`, `after` zeros.
struct EdgeStrip {
  std::size_t before, inside, after, offset;
};

/// Patches of neighbouring output pixels in one output row.
struct PatchRun {
  std::size_t image, y, x, count;
  std::size_t at;  ///< words from the start of the block to the first patch
};

/// The strips of one kernel row of a run. Calls edge(strip, at) where a strip leaves the image, and
/// interior(offset, at, count) for `count` strips wholly inside, stride * channels words apart in
/// the images and a pitch apart in the block.
template <class Edge, class Interior>
void for_each_strip(const Conv2dShape& shape, const Blocks& blocks, const PatchRun& run,
                    std::int64_t kernel_row, Edge edge, Interior interior) {
  const std::int64_t width = shape.width, kernel = shape.kernel, pad = shape.pad_before;
  const std::int64_t stride = shape.stride;
  const std::size_t channels = shape.in_channels, strip_words = shape.kernel * channels;
  const auto first = static_cast<std::int64_t>(run.x);
  const auto end = first + static_cast<std::int64_t>(run.count);
  const std::int64_t image_row = static_cast<std::int64_t>(run.y) * stride - pad + kernel_row;
  const std::size_t block_at = run.at + static_cast<std::size_t>(kernel_row) * strip_words;
  if (image_row < 0 || image_row >= shape.height) {
    for (std::size_t i = 0; i < run.count; ++i) {
      edge(EdgeStrip{strip_words, 0, 0, 0}, block_at + i * blocks.pitch);
    }
    return;
  }
  const std::size_t row_offset =
      (run.image * shape.height + static_cast<std::size_t>(image_row)) * shape.width * channels;
  // Inside where 0 <= x * stride - pad and x * stride - pad + kernel <= width.
  const std::int64_t inside_end =
      width + pad >= kernel ? (width + pad - kernel) / stride + 1 : std::int64_t{0};
  const std::int64_t inside_first = std::clamp((pad + stride - 1) / stride, first, end);
  const std::int64_t inside_last = std::clamp(inside_end, inside_first, end);
  const auto block_of = [&](std::int64_t x) {
    return block_at + static_cast<std::size_t>(x - first) * blocks.pitch;
  };
  const auto visit_edges = [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t x = from; x < to; ++x) {
      const std::int64_t left = x * stride - pad;
      const std::int64_t skip = std::clamp<std::int64_t>(-left, 0, kernel);
      const std::int64_t stop = std::clamp(width - left, skip, kernel);
      const auto before = static_cast<std::size_t>(skip) * channels;
      const auto inside = static_cast<std::size_t>(stop - skip) * channels;
      const auto pixel = static_cast<std::size_t>(inside > 0 ? left + skip : 0);
      edge(EdgeStrip{before, inside, strip_words - before - inside, row_offset + pixel * channels},
           block_of(x));
    }
  };
  visit_edges(first, inside_first);
  if (inside_first < inside_last) {
    interior(row_offset + static_cast<std::size_t>(inside_first * stride - pad) * channels,
             block_of(inside_first), static_cast<std::size_t>(inside_last - inside_first));
  }
  visit_edges(inside_last, end);
}

/// All strips of patches [first, first + rows).
template <class Edge, class Interior>
void for_each_strip(const Conv2dShape& shape, const Blocks& blocks, std::size_t first,
                    std::size_t rows, Edge edge, Interior interior) {
  if (blocks.columns == 0) return;
  const std::size_t out_width = shape.out_width(), out_height = shape.out_height();
  for (std::size_t row = 0; row < rows;) {
    const std::size_t pixel = first + row;
    const std::size_t x = pixel % out_width, line = pixel / out_width;
    const PatchRun run{line / out_height, line % out_height, x, std::min(out_width - x, rows - row),
                       row * blocks.pitch};
    for (std::uint32_t ky = 0; ky < shape.kernel; ++ky) {
      for_each_strip(shape, blocks, run, ky, edge, interior);
    }
    row += run.count;
  }
}

/// `count` strips of at most 4 * chunks words, copied in whole chunks: what is copied too much
/// lands where the next kernel row, or nobody, writes (see kSlackWords).
template <std::size_t chunks>
void copy_strips(const std::uint64_t* from, std::size_t from_step, std::uint64_t* to,
                 std::size_t to_step, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i, from += from_step, to += to_step) {
    std::memcpy(to, from, chunks * 32);
  }
}

void gather_patches(const Conv2dShape& shape, const Blocks& blocks, std::size_t first,
                    std::size_t rows, const std::uint64_t* images, std::uint64_t* patches) {
  const std::size_t strip_words = std::size_t{shape.kernel} * shape.in_channels;
  const std::size_t step = std::size_t{shape.stride} * shape.in_channels;
  const std::size_t image_words = shape.image_shape().count();
  const auto edge = [&](const EdgeStrip& strip, std::size_t at) {
    std::uint64_t* to = std::fill_n(patches + at, strip.before, 0);
    to = std::copy_n(images + strip.offset, strip.inside, to);
    std::fill_n(to, strip.after, 0);
  };
  const auto interior = [&](std::size_t offset, std::size_t at, std::size_t count) {
    const std::uint64_t* from = images + offset;
    std::uint64_t* to = patches + at;
    const std::size_t chunks = (strip_words + 3) / 4;
    if (offset + (count - 1) * step + 4 * chunks <= image_words) {
      switch (chunks) {  // a call of memcpy costs more than so short a copy
        case 1: return copy_strips<1>(from, step, to, blocks.pitch, count);
        case 2: return copy_strips<2>(from, step, to, blocks.pitch, count);
        case 3: return copy_strips<3>(from, step, to, blocks.pitch, count);
        case 4: return copy_strips<4>(from, step, to, blocks.pitch, count);
        default: break;
      }
    }
    for (std::size_t i = 0; i < count; ++i, from += step, to += blocks.pitch) {
      std::memcpy(to, from, strip_words * 8);
    }
  };
  for_each_strip(shape, blocks, first, rows, edge, interior);
}

void scatter_patches(const Conv2dShape& shape, const Blocks& blocks, std::size_t first,
                     std::size_t rows, const std::uint64_t* patches, std::uint64_t* images) {
  const std::size_t strip_words = std::size_t{shape.kernel} * shape.in_channels;
  const std::size_t step = std::size_t{shape.stride} * shape.in_channels;
  const auto edge = [&](const EdgeStrip& strip, std::size_t at) {
    const std::uint64_t* from = patches + at + strip.before;
    for (std::size_t i = 0; i < strip.inside; ++i) images[strip.offset + i] += from[i];
  };
  const auto interior = [&](std::size_t offset, std::size_t at, std::size_t count) {
    std::uint64_t* to = images + offset;
    const std::uint64_t* from = patches + at;
    if (strip_words <= kShortStrip) {
      // Word by word over the run: neighbouring strips overlap, and a strip at a time would wait
      // for its neighbour's stores.
      for (std::size_t j = 0; j < strip_words; ++j) {
        for (std::size_t i = 0; i < count; ++i) to[i * step + j] += from[i * blocks.pitch + j];
      }
      return;
    }
    for (std::size_t i = 0; i < count; ++i, to += step, from += blocks.pitch) {
      for (std::size_t j = 0; j < strip_words; ++j) to[j] += from[j];
    }
  };
  for_each_strip(shape, blocks, first, rows, edge, interior);
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
