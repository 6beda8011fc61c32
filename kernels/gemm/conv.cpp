#include "kernels/gemm/conv.h"

#include <algorithm>

#include "beaverpond/check.h"
#include "kernels/gemm/conv_lines.h"
#include "kernels/gemm/operand.h"

namespace beaverpond {
namespace {

using internal::Axis;
using internal::GemmTask;

/// Words of each of two buffers for images with their padding, unless one line of results wants
/// more: together they stay in L2.
constexpr std::size_t kBandWords = std::size_t{1} << 15;
/// Words of gradients, of images and results, that are visited once per kernel row: stay in L2.
constexpr std::size_t kGradientWords = std::size_t{1} << 16;

std::size_t round_up(std::size_t size_bytes) {
  return (size_bytes + 63) / 64 * 64;
}

void check_shape(const Conv2dShape& shape) {
  BP_CHECK(shape.stride > 0, "the stride of a convolution is zero");
  const std::uint64_t padding = std::uint64_t{shape.pad_before} + shape.pad_after;
  BP_CHECK(shape.kernel > 0 && shape.kernel <= shape.height + padding &&
               shape.kernel <= shape.width + padding,
           "the kernel of a convolution is empty or larger than the padded image");
}

/// How the batch is cut into bands: some whole images, or some lines of results of one image.
/// Where images have no padding, one band is all of them, read in place.
struct Bands {
  bool padded;
  bool whole = true;              ///< images in a band, with all their rows
  std::size_t width, height;      ///< of an image with its padding
  std::size_t row_words;          ///< of such an image
  std::size_t images, lines;      ///< of a full band
  std::size_t scratch_words = 0;  ///< of one term's images in a band

  /// `most_words`: of the images and results of a band; 0: no matter.
  explicit Bands(const Conv2dShape& shape, std::size_t most_words = 0)
      : padded(shape.pad_before > 0 || shape.pad_after > 0),
        width(std::size_t{shape.width} + shape.pad_before + shape.pad_after),
        height(std::size_t{shape.height} + shape.pad_before + shape.pad_after),
        row_words(width * shape.in_channels),
        images(shape.batch),
        lines(shape.out_height()) {
    const std::size_t image_words = height * row_words;
    if (most_words > 0) {
      const std::size_t result_words = lines * shape.out_width() * shape.out_channels;
      const std::size_t each = std::max<std::size_t>(image_words + result_words, 1);
      images = std::min(images, std::max<std::size_t>(most_words / each, 1));
    }
    if (!padded) return;
    if (image_words <= kBandWords) {
      images = std::min<std::size_t>(images, kBandWords / std::max<std::size_t>(image_words, 1));
      scratch_words = images * image_words;
      return;
    }
    whole = false;
    images = 1;
    const std::size_t rows = std::max<std::size_t>(kBandWords / row_words, shape.kernel);
    lines = std::min<std::size_t>((rows - shape.kernel) / shape.stride + 1, lines);
    scratch_words = rows_of(shape, lines) * row_words;
  }

  /// Rows of an image that `count` lines of results read.
  static std::size_t rows_of(const Conv2dShape& shape, std::size_t count) {
    return (count - 1) * shape.stride + shape.kernel;
  }
  std::size_t size_bytes() const { return internal::kMostTerms * round_up(scratch_words * 8); }
};

struct Band {
  std::size_t image, images, line, lines;

  std::size_t first_pixel(const Conv2dShape& shape) const {
    return (image * shape.out_height() + line) * shape.out_width();
  }
  std::size_t pixels(const Conv2dShape& shape) const { return images * lines * shape.out_width(); }
};

/// Calls visit(row in the band's scratch, row of the images) for all rows of the images of a band,
/// and blank(row in the scratch) for rows of padding.
template <class Row, class Blank>
void for_each_band_row(const Conv2dShape& shape, const Bands& bands, const Band& band, Row visit,
                       Blank blank) {
  const std::size_t rows = bands.whole ? bands.height : Bands::rows_of(shape, band.lines);
  for (std::size_t i = 0; i < band.images; ++i) {
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t row = band.line * shape.stride + r;  // from the top of the padding
      if (row < shape.pad_before || row >= std::size_t{shape.pad_before} + shape.height) {
        blank(i * rows + r);
      } else {
        visit(i * rows + r, (band.image + i) * shape.height + row - shape.pad_before);
      }
    }
  }
}

/// The images of a band with zeros around them.
void copy_band(const Conv2dShape& shape, const Bands& bands, const Band& band,
               const std::uint64_t* images, std::uint64_t* out) {
  const std::size_t before = std::size_t{shape.pad_before} * shape.in_channels;
  const std::size_t inside = std::size_t{shape.width} * shape.in_channels;
  for_each_band_row(
      shape, bands, band,
      [&](std::size_t row, std::size_t image_row) {
        std::uint64_t* to = std::fill_n(out + row * bands.row_words, before, 0);
        to = std::copy_n(images + image_row * inside, inside, to);
        std::fill(to, out + (row + 1) * bands.row_words, 0);
      },
      [&](std::size_t row) { std::fill_n(out + row * bands.row_words, bands.row_words, 0); });
}

/// images += a band without what lies in the padding.
void add_band(const Conv2dShape& shape, const Bands& bands, const Band& band,
              const std::uint64_t* padded, std::uint64_t* images) {
  const std::size_t before = std::size_t{shape.pad_before} * shape.in_channels;
  const std::size_t inside = std::size_t{shape.width} * shape.in_channels;
  for_each_band_row(
      shape, bands, band,
      [&](std::size_t row, std::size_t image_row) {
        const std::uint64_t* from = padded + row * bands.row_words + before;
        std::uint64_t* to = images + image_row * inside;
        for (std::size_t i = 0; i < inside; ++i) to[i] += from[i];
      },
      [](std::size_t) {});
}

/// Where the words of patches lie from the start of a band: by pixel of the result, and by element
/// of a patch. Patch p's element e is at pixels(p) + elements(e).
struct PatchAxes {
  Axis pixels, elements;

  PatchAxes(const Conv2dShape& shape, const Bands& bands, const Band& band) {
    const std::size_t channels = shape.in_channels;
    pixels = {.stride = shape.stride * channels,
              .inner = shape.out_width(),
              .middle_stride = shape.stride * bands.row_words,
              .middle = band.lines,
              .outer_stride = bands.height * bands.row_words};
    elements = {.stride = 1,
                .inner = shape.kernel * channels,
                .middle_stride = bands.row_words,
                .middle = shape.kernel};
  }
};

template <class Visit>
void for_each_band(const Conv2dShape& shape, const Bands& bands, Visit visit) {
  const std::size_t lines = shape.out_height();
  Band band{};
  for (band.image = 0; band.image < shape.batch; band.image += band.images) {
    band.images = std::min(bands.images, shape.batch - band.image);
    for (band.line = 0; band.line < lines; band.line += band.lines) {
      band.lines = std::min(bands.lines, lines - band.line);
      visit(band);
    }
  }
}

/// Calls visit(band, axes, data of each factor's images) for all bands.
template <class Visit>
void for_each_band_of_images(const Conv2dShape& shape, std::span<const ConvFactors> factors,
                             std::span<std::byte> workspace, Visit visit) {
  const Bands bands(shape);
  auto* scratch = reinterpret_cast<std::uint64_t*>(workspace.data());
  const std::size_t scratch_step = round_up(bands.scratch_words * 8) / 8;
  for_each_band(shape, bands, [&](const Band& band) {
    const std::uint64_t* data[internal::kMostTerms] = {};
    for (std::size_t t = 0; t < factors.size(); ++t) {
      data[t] = factors[t].x;
      if (!bands.padded) continue;
      data[t] = scratch + t * scratch_step;
      copy_band(shape, bands, band, factors[t].x, scratch + t * scratch_step);
    }
    visit(band, PatchAxes(shape, bands, band), data);
  });
}

/// The gradient of images takes pixels of a line of results together where their strips of
/// kernel * in_channels words are narrower than the lanes that a tile spends on them anyway: what
/// they add to is one strip of `columns` words, their product as many times deeper. B is then the
/// weights of each pixel, shifted to its place, with zeros around.
struct PixelGroups {
  std::size_t pixels = 1;  ///< in a group
  std::size_t columns;     ///< of its strip

  explicit PixelGroups(const Conv2dShape& shape) {
    constexpr std::size_t kLanes = 4;
    columns = std::size_t{shape.kernel} * shape.in_channels;
    const std::size_t spare = (columns + kLanes - 1) / kLanes * kLanes - columns;
    const std::size_t step = std::size_t{shape.stride} * shape.in_channels;
    if (step == 0) return;
    pixels = std::max<std::size_t>(std::min<std::size_t>(spare / step + 1, shape.out_width()), 1);
    columns += (pixels - 1) * step;
  }
  /// Of one kernel row's B.
  std::size_t words(const Conv2dShape& shape) const {
    return pixels * shape.out_channels * columns;
  }
  std::size_t size_bytes(const Conv2dShape& shape) const {
    return pixels == 1 ? 0 : internal::kMostTerms * round_up(words(shape) * 8);
  }
};

/// out[pixel * channels + channel][column] of one kernel row.
void place_weights(const Conv2dShape& shape, const PixelGroups& groups, std::size_t kernel_row,
                   const std::uint64_t* weights, std::uint64_t* out) {
  const std::size_t channels = shape.out_channels;
  const std::size_t strip = std::size_t{shape.kernel} * shape.in_channels;
  const std::uint64_t* from = weights + kernel_row * strip * channels;
  std::fill_n(out, groups.words(shape), 0);
  for (std::size_t pixel = 0; pixel < groups.pixels; ++pixel) {
    const std::size_t at = pixel * shape.stride * shape.in_channels;
    for (std::size_t c = 0; c < channels; ++c) {
      std::uint64_t* row = out + (pixel * channels + c) * groups.columns + at;
      for (std::size_t j = 0; j < strip; ++j) row[j] = from[j * channels + c];
    }
  }
}

/// B of each term: words, and the strides of its rows and columns.
struct StripWeights {
  const std::uint64_t* data[internal::kMostTerms];
  std::size_t row_stride, column_stride;
};

/// Groups of `pixels` pixels, from pixel `first` of each line on.
struct LinePart {
  std::size_t first, groups, pixels, columns;
};

/// One kernel row's part of the gradient of a band: each group of pixels of the result adds a
/// strip. Groups go down the columns, so that the strips that a tile adds never overlap: they would
/// wait for each other's stores.
void add_gradient_strip(const Conv2dShape& shape, const Bands& bands, const Band& band,
                        const LinePart& part, std::span<const ConvFactors> factors,
                        const StripWeights& weights, std::uint64_t* out,
                        std::span<std::byte> workspace, GemmKernel kernel) {
  const std::size_t channels = shape.out_channels, out_width = shape.out_width();
  const std::size_t step = std::size_t{shape.stride} * shape.in_channels;
  const Axis groups = {.stride = out_width * channels,
                       .inner = band.lines,
                       .middle_stride = part.pixels * channels,
                       .middle = part.groups,
                       .outer_stride = shape.out_height() * out_width * channels};
  GemmTask task;
  task.m = band.images * band.lines * part.groups;
  task.n = part.columns;
  for (std::size_t t = 0; t < factors.size(); ++t) {
    task.terms[t] = {
        part.pixels * channels,
        {factors[t].x + (band.first_pixel(shape) + part.first) * channels, groups, {.stride = 1}},
        weights.data[t],
        weights.row_stride,
        weights.column_stride};
  }
  task.term_count = factors.size();
  task.c = out + part.first * step;
  task.c_rows = {.stride = shape.stride * bands.row_words,
                 .inner = band.lines,
                 .middle_stride = part.pixels * step,
                 .middle = part.groups,
                 .outer_stride = bands.height * bands.row_words};
  task.accumulate = true;
  internal::run_gemm_task(task, workspace, kernel);
}

/// All kernel rows of a band.
void add_gradient_band(const Conv2dShape& shape, const Bands& bands, const Band& band,
                       std::span<const ConvFactors> factors, std::uint64_t* out,
                       std::span<std::byte> workspace, GemmKernel kernel) {
  const PixelGroups groups(shape);
  const std::size_t channels = shape.out_channels, width = shape.out_width();
  const std::size_t strip = std::size_t{shape.kernel} * shape.in_channels;
  auto* placed = reinterpret_cast<std::uint64_t*>(workspace.data());
  const auto scratch = workspace.subspan(groups.size_bytes(shape));
  const std::size_t grouped = groups.pixels == 1 ? 0 : width / groups.pixels * groups.pixels;
  for (std::size_t row = 0; row < shape.kernel; ++row) {
    std::uint64_t* to = out + row * bands.row_words;
    StripWeights weights{};
    if (grouped > 0) {
      for (std::size_t t = 0; t < factors.size(); ++t) {
        std::uint64_t* table = placed + t * (round_up(groups.words(shape) * 8) / 8);
        place_weights(shape, groups, row, factors[t].y, table);
        weights.data[t] = table;
      }
      weights.row_stride = groups.columns;
      weights.column_stride = 1;
      add_gradient_strip(shape, bands, band,
                         {0, grouped / groups.pixels, groups.pixels, groups.columns}, factors,
                         weights, to, scratch, kernel);
    }
    if (grouped == width) continue;
    for (std::size_t t = 0; t < factors.size(); ++t) {
      weights.data[t] = factors[t].y + row * strip * channels;
    }
    weights.row_stride = 1;
    weights.column_stride = channels;
    add_gradient_strip(shape, bands, band, {grouped, width - grouped, 1, strip}, factors, weights,
                       to, scratch, kernel);
  }
}

/// What a tile kernel of AVX-512 spends on runs of so many words, by measurement: lanes in fours,
/// and two words more for each 24 at most that it takes at a time.
std::size_t lanes_for(std::size_t words) {
  return (words + 3) / 4 * 4 + (words + 23) / 24 * 2;
}

/// Whether the gradient of the images is computed with the pixels of a line in the lanes
/// (conv_lines.h) rather than strips of words: where they waste fewer lanes. Lines of less than a
/// vector and patches of few words do not pay for turning the gradient by channel.
bool by_lines(const Conv2dShape& shape, GemmKernel kernel) {
  if (kernel == GemmKernel::kAuto) kernel = best_gemm_kernel();
  if (kernel != GemmKernel::kAvx512 && kernel != GemmKernel::kHybrid) return false;
  const std::size_t strip = std::size_t{shape.kernel} * shape.in_channels;
  const std::size_t pixels = shape.out_width();
  if (strip == 0 || strip > internal::kMostLineRows || shape.out_channels == 0) return false;
  if (shape.kernel > internal::kMostLineKernel) return false;
  if (pixels < 8 || shape.patch_columns() < 9) return false;
  const std::size_t columns = PixelGroups(shape).columns;
  // Lines are multiplied by vpmullq; the hybrid does so itself for up to 8 columns only.
  if (kernel == GemmKernel::kHybrid && columns > 8) return false;
  // By measurement a tenth better than strips of as many words: no row is read to be added to.
  return 11 * pixels * lanes_for(columns) >= 10 * strip * lanes_for(pixels);
}

/// image_gradient += the gradient, with pixels in the lanes.
void add_by_lines(const Conv2dShape& shape, std::span<const ConvFactors> factors,
                  std::uint64_t* image_gradient, std::span<std::byte> workspace) {
  internal::LinesTask task{};
  for (const ConvFactors& f : factors) task.terms[task.term_count++] = {f.x, f.y};
  task.images = image_gradient;
  task.batch = shape.batch;
  task.height = shape.height;
  task.width = shape.width;
  task.in_channels = shape.in_channels;
  task.out_height = shape.out_height();
  task.out_width = shape.out_width();
  task.out_channels = shape.out_channels;
  task.kernel = shape.kernel;
  task.stride = shape.stride;
  task.pad_before = shape.pad_before;
  task.workspace = reinterpret_cast<std::uint64_t*>(workspace.data());
  internal::add_grad_input_by_lines(task);
}

void check_workspace(const Conv2dShape& shape, std::span<const ConvFactors> factors,
                     std::span<std::byte> workspace) {
  BP_CHECK(!factors.empty() && factors.size() <= internal::kMostTerms,
           "a sum of convolutions has one or two terms");
  BP_CHECK(workspace.size() >= conv2d_workspace_size_bytes(shape) &&
               reinterpret_cast<std::uintptr_t>(workspace.data()) % 64 == 0,
           "the workspace of a convolution is too small or not aligned");
}

}  // namespace

std::size_t conv2d_workspace_size_bytes(const Conv2dShape& shape) {
  check_shape(shape);
  return Bands(shape).size_bytes() + PixelGroups(shape).size_bytes(shape) +
         gemm_workspace_size_bytes();
}

void conv2d_sum(const Conv2dShape& shape, std::span<const ConvFactors> factors,
                std::uint64_t* result, bool accumulate, std::span<std::byte> workspace,
                GemmKernel kernel) {
  check_shape(shape);
  check_workspace(shape, factors, workspace);
  const std::size_t channels = shape.out_channels, columns = shape.patch_columns();
  const auto scratch = workspace.subspan(Bands(shape).size_bytes());
  for_each_band_of_images(
      shape, factors, workspace,
      [&](const Band& band, const PatchAxes& axes, const std::uint64_t* const* data) {
        GemmTask task;
        task.m = band.pixels(shape);
        task.n = task.c_rows.stride = channels;
        for (std::size_t t = 0; t < factors.size(); ++t) {
          task.terms[t] = {
              columns, {data[t], axes.pixels, axes.elements}, factors[t].y, channels, 1};
        }
        task.term_count = factors.size();
        task.c = result + band.first_pixel(shape) * channels;
        task.accumulate = accumulate;
        internal::run_gemm_task(task, scratch, kernel);
      });
}

void conv2d_grad_weight_sum(const Conv2dShape& shape, std::span<const ConvFactors> factors,
                            std::uint64_t* weight_gradient, bool accumulate,
                            std::span<std::byte> workspace, GemmKernel kernel) {
  check_shape(shape);
  check_workspace(shape, factors, workspace);
  const std::size_t channels = shape.out_channels, columns = shape.patch_columns();
  if (shape.batch == 0 && !accumulate) std::fill_n(weight_gradient, columns * channels, 0);
  const auto scratch = workspace.subspan(Bands(shape).size_bytes());
  for_each_band_of_images(
      shape, factors, workspace,
      [&](const Band& band, const PatchAxes& axes, const std::uint64_t* const* data) {
        GemmTask task;
        task.m = columns;
        task.n = task.c_rows.stride = channels;
        const std::size_t first = band.first_pixel(shape);
        for (std::size_t t = 0; t < factors.size(); ++t) {
          task.terms[t] = {band.pixels(shape),
                           {data[t], axes.elements, axes.pixels},
                           factors[t].y + first * channels,
                           channels,
                           1};
        }
        task.term_count = factors.size();
        task.c = weight_gradient;
        task.accumulate = accumulate || first > 0;
        internal::run_gemm_task(task, scratch, kernel);
      });
}

void conv2d_grad_input_sum(const Conv2dShape& shape, std::span<const ConvFactors> factors,
                           std::uint64_t* image_gradient, bool accumulate,
                           std::span<std::byte> workspace, GemmKernel kernel) {
  check_shape(shape);
  check_workspace(shape, factors, workspace);
  if (!accumulate) std::fill_n(image_gradient, shape.image_shape().count(), 0);
  if (by_lines(shape, kernel)) return add_by_lines(shape, factors, image_gradient, workspace);
  const Bands bands(shape, kGradientWords);
  auto* padded = reinterpret_cast<std::uint64_t*>(workspace.data());
  const auto scratch = workspace.subspan(bands.size_bytes());
  for_each_band(shape, bands, [&](const Band& band) {
    std::uint64_t* out = image_gradient + band.image * shape.height * bands.row_words;
    if (bands.padded) {
      out = padded;
      std::fill_n(out, bands.scratch_words, 0);
    }
    add_gradient_band(shape, bands, band, factors, out, scratch, kernel);
    if (bands.padded) add_band(shape, bands, band, padded, image_gradient);
  });
}

void conv2d(const Conv2dShape& shape, const std::uint64_t* images, const std::uint64_t* weights,
            std::uint64_t* result, bool accumulate, std::span<std::byte> workspace,
            GemmKernel kernel) {
  const ConvFactors factors[] = {{images, weights}};
  conv2d_sum(shape, factors, result, accumulate, workspace, kernel);
}

void conv2d_grad_weight(const Conv2dShape& shape, const std::uint64_t* images,
                        const std::uint64_t* gradient, std::uint64_t* weight_gradient,
                        bool accumulate, std::span<std::byte> workspace, GemmKernel kernel) {
  const ConvFactors factors[] = {{images, gradient}};
  conv2d_grad_weight_sum(shape, factors, weight_gradient, accumulate, workspace, kernel);
}

void conv2d_grad_input(const Conv2dShape& shape, const std::uint64_t* gradient,
                       const std::uint64_t* weights, std::uint64_t* image_gradient, bool accumulate,
                       std::span<std::byte> workspace, GemmKernel kernel) {
  const ConvFactors factors[] = {{gradient, weights}};
  conv2d_grad_input_sum(shape, factors, image_gradient, accumulate, workspace, kernel);
}

}  // namespace beaverpond
