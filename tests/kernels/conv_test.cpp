#include "kernels/gemm/conv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "kernels/gemm/conv_lines.h"
#include "tests/kernels/guarded_words.h"
#include "tests/kernels/workspace.h"
#include "tests/soak.h"

namespace beaverpond {
namespace {

using Words = std::vector<std::uint64_t>;

Words random_words(std::size_t count, std::mt19937_64& random) {
  Words words(count);
  for (std::uint64_t& word : words) word = random();
  return words;
}

/// Calls visit(image word, weight word, result word) for every product of the convolution.
template <class Visit>
void for_each_product(const Conv2dShape& s, Visit visit) {
  const std::int64_t height = s.height, width = s.width;
  for (std::uint32_t b = 0; b < s.batch; ++b) {
    for (std::uint32_t y = 0; y < s.out_height(); ++y) {
      for (std::uint32_t x = 0; x < s.out_width(); ++x) {
        for (std::uint32_t ky = 0; ky < s.kernel; ++ky) {
          for (std::uint32_t kx = 0; kx < s.kernel; ++kx) {
            const std::int64_t iy = std::int64_t{y} * s.stride + ky - s.pad_before;
            const std::int64_t ix = std::int64_t{x} * s.stride + kx - s.pad_before;
            if (iy < 0 || iy >= height || ix < 0 || ix >= width) continue;
            const auto pixel = static_cast<std::size_t>((b * height + iy) * width + ix);
            const std::size_t out = (std::size_t{b} * s.out_height() + y) * s.out_width() + x;
            for (std::uint32_t i = 0; i < s.in_channels; ++i) {
              for (std::uint32_t o = 0; o < s.out_channels; ++o) {
                const std::size_t tap = (ky * s.kernel + kx) * s.in_channels + i;
                visit(pixel * s.in_channels + i, tap * s.out_channels + o,
                      out * s.out_channels + o);
              }
            }
          }
        }
      }
    }
  }
}

std::string describe(const Conv2dShape& s) {
  return s.image_shape().str() + " * " + s.weight_shape().str() + " stride " +
         std::to_string(s.stride) + " padding " + std::to_string(s.pad_before) + "," +
         std::to_string(s.pad_after);
}

std::vector<GemmKernel> kernels() {
  std::vector<GemmKernel> all;
  for (GemmKernel kernel :
       {GemmKernel::kPortable, GemmKernel::kAvx2, GemmKernel::kAvx512, GemmKernel::kHybrid}) {
    if (gemm_kernel_supported(kernel)) all.push_back(kernel);
  }
  return all;
}

/// All three functions, accumulating and not, against direct sums.
void check_shape(const Conv2dShape& shape, std::mt19937_64& random) {
  const Words images = random_words(shape.image_shape().count(), random);
  const Words weights = random_words(shape.weight_shape().count(), random);
  const Words gradient = random_words(shape.result_shape().count(), random);
  Workspace workspace(conv2d_workspace_size_bytes(shape));
  for (const bool accumulate : {false, true}) {
    const auto start = [&](const Words& like) { return random_words(like.size(), random); };
    const Words result0 = start(gradient), weight0 = start(weights), image0 = start(images);
    const auto base = [&](const Words& words) { return accumulate ? words : Words(words.size()); };
    Words result = base(result0), weight_gradient = base(weight0), image_gradient = base(image0);
    for_each_product(shape, [&](std::size_t image, std::size_t weight, std::size_t out) {
      result[out] += images[image] * weights[weight];
      weight_gradient[weight] += images[image] * gradient[out];
      image_gradient[image] += gradient[out] * weights[weight];
    });
    for (GemmKernel kernel : kernels()) {
      Words r = result0, w = weight0, i = image0;
      conv2d(shape, images.data(), weights.data(), r.data(), accumulate, workspace.span(), kernel);
      conv2d_grad_weight(shape, images.data(), gradient.data(), w.data(), accumulate,
                         workspace.span(), kernel);
      conv2d_grad_input(shape, gradient.data(), weights.data(), i.data(), accumulate,
                        workspace.span(), kernel);
      ASSERT_TRUE(r == result) << "conv2d " << describe(shape) << " " << to_string(kernel);
      ASSERT_TRUE(w == weight_gradient) << "grad weight " << describe(shape);
      ASSERT_TRUE(i == image_gradient) << "grad input " << describe(shape);
      if (accumulate) continue;
      // Twice the same factors: twice the result.
      const auto twice = [](Words words) {
        for (std::uint64_t& word : words) word *= 2;
        return words;
      };
      const auto pair = [](const Words& x, const Words& y) {
        return std::vector<ConvFactors>(2, {x.data(), y.data()});
      };
      conv2d_sum(shape, pair(images, weights), r.data(), false, workspace.span(), kernel);
      conv2d_grad_weight_sum(shape, pair(images, gradient), w.data(), false, workspace.span(),
                             kernel);
      conv2d_grad_input_sum(shape, pair(gradient, weights), i.data(), false, workspace.span(),
                            kernel);
      ASSERT_TRUE(r == twice(result)) << "two of conv2d " << describe(shape);
      ASSERT_TRUE(w == twice(weight_gradient)) << "two of grad weight " << describe(shape);
      ASSERT_TRUE(i == twice(image_gradient)) << "two of grad input " << describe(shape);
    }
  }
}

TEST(Conv2d, RandomShapes) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 400; ++round) {
    const auto below = [&](std::uint64_t bound) {
      return static_cast<std::uint32_t>(random() % bound);
    };
    Conv2dShape shape;
    shape.batch = below(4);
    shape.height = 1 + below(12);
    shape.width = 1 + below(12);
    shape.in_channels = 1 + below(7);
    shape.out_channels = 1 + below(20);
    shape.kernel = 1 + below(5);
    shape.stride = 1 + below(3);
    shape.pad_before = below(4);
    shape.pad_after = below(4);
    const std::uint32_t padding = shape.pad_before + shape.pad_after;
    if (shape.kernel > std::min(shape.height, shape.width) + padding) continue;
    check_shape(shape, random);
  }
}

TEST(Conv2d, ShapesOfNetworksOverManyBlocks) {
  std::mt19937_64 random(2);
  check_shape({3, 28, 28, 1, 5, 5, 2, 2, 1}, random);  // 2 * 196 patches and some
  check_shape({7, 28, 28, 1, 20, 5, 1, 0, 0}, random);
  check_shape({6, 12, 12, 20, 50, 5, 1, 0, 0}, random);
  check_shape({2, 14, 14, 64, 32, 3, 1, 1, 1}, random);  // bands of several images
  check_shape({2, 40, 38, 24, 3, 4, 2, 1, 2}, random);   // bands of lines of one image
  check_shape({1, 9, 700, 40, 2, 3, 1, 1, 1}, random);   // a band of one line is large
}

TEST(Conv2d, PaddingWiderThanTheKernel) {
  std::mt19937_64 random(3);
  check_shape({2, 3, 4, 2, 3, 2, 1, 5, 4}, random);  // whole patches of zeros
  check_shape({1, 1, 1, 1, 1, 7, 3, 6, 3}, random);
}

// Images of several bands whose last rows no patch reads.
TEST(Conv2d, StridesThatLeaveRowsOfLargeImagesOut) {
  std::mt19937_64 random(7);
  check_shape({1, 180, 180, 1, 2, 3, 3, 1, 1}, random);
  check_shape({2, 63, 63, 8, 2, 3, 3, 1, 1}, random);
  check_shape({1, 127, 127, 2, 3, 4, 3, 1, 1}, random);
  check_shape({1, 200, 200, 1, 2, 2, 500, 1, 0}, random);
}

/// Operands of the gradient of images, two of each, between pages that cannot be touched.
struct GuardedGradient {
  Conv2dShape shape;
  GuardedWords gradient0, gradient1, weights0, weights1, images, workspace, of_lines;

  GuardedGradient(const Conv2dShape& s, GuardedWords::Edge edge, std::mt19937_64& random)
      : shape(s),
        gradient0(s.result_shape().count(), edge),
        gradient1(s.result_shape().count(), edge),
        weights0(s.weight_shape().count(), edge),
        weights1(s.weight_shape().count(), edge),
        images(s.image_shape().count(), edge),
        workspace((conv2d_workspace_size_bytes(s) + 63) / 64 * 8, GuardedWords::Edge::kEnd),
        of_lines(internal::kLinesWorkspaceWords, edge) {
    for (GuardedWords* words : {&gradient0, &gradient1}) {
      std::generate_n(words->data(), s.result_shape().count(), std::ref(random));
    }
    for (GuardedWords* words : {&weights0, &weights1}) {
      std::generate_n(words->data(), s.weight_shape().count(), std::ref(random));
    }
  }

  std::vector<ConvFactors> factors(std::size_t count) {
    const std::vector<ConvFactors> both = {{gradient0.data(), weights0.data()},
                                           {gradient1.data(), weights1.data()}};
    return {both.begin(), both.begin() + static_cast<std::ptrdiff_t>(count)};
  }
  std::span<std::byte> scratch() {
    return {reinterpret_cast<std::byte*>(workspace.data()), conv2d_workspace_size_bytes(shape)};
  }

  /// Pixels in the lanes, whatever the shape.
  void add_by_lines(std::size_t count) {
    internal::LinesTask task{};
    for (const ConvFactors& f : factors(count)) task.terms[task.term_count++] = {f.x, f.y};
    task.images = images.data();
    task.batch = shape.batch, task.height = shape.height, task.width = shape.width;
    task.in_channels = shape.in_channels, task.out_channels = shape.out_channels;
    task.out_height = shape.out_height(), task.out_width = shape.out_width();
    task.kernel = shape.kernel, task.stride = shape.stride, task.pad_before = shape.pad_before;
    task.workspace = of_lines.data();
    internal::add_grad_input_by_lines(task);
  }
};

/// The gradient of images against the portable kernel, in guarded memory.
void check_image_gradient(const Conv2dShape& shape, std::mt19937_64& random) {
  const auto edge = random() % 2 == 0 ? GuardedWords::Edge::kEnd : GuardedWords::Edge::kStart;
  GuardedGradient d(shape, edge, random);
  const Words start = random_words(shape.image_shape().count(), random);
  for (const std::size_t terms : {1u, 2u}) {
    Words expected = start;
    conv2d_grad_input_sum(shape, d.factors(terms), expected.data(), true, d.scratch(),
                          GemmKernel::kPortable);
    const auto check = [&](const char* what) {
      ASSERT_TRUE(std::equal(expected.begin(), expected.end(), d.images.data()))
          << what << " " << terms << " " << describe(shape);
    };
    for (GemmKernel kernel : {GemmKernel::kAvx512, GemmKernel::kHybrid}) {
      if (!gemm_kernel_supported(kernel)) continue;
      std::copy(start.begin(), start.end(), d.images.data());
      conv2d_grad_input_sum(shape, d.factors(terms), d.images.data(), true, d.scratch(), kernel);
      ASSERT_NO_FATAL_FAILURE(check(to_string(kernel)));
    }
    if (!gemm_kernel_supported(GemmKernel::kAvx512)) continue;
    if (shape.kernel > internal::kMostLineKernel ||
        shape.kernel * shape.in_channels > internal::kMostLineRows) {
      continue;
    }
    std::copy(start.begin(), start.end(), d.images.data());
    d.add_by_lines(terms);
    ASSERT_NO_FATAL_FAILURE(check("lines"));
  }
}

TEST(Conv2d, GradientsOfImagesOfFewChannels) {
  std::mt19937_64 random(11);
  const int rounds = testing::campaign_size(100, 20000);
  for (int round = 0; round < rounds; ++round) {
    const auto below = [&](std::uint64_t bound) {
      return static_cast<std::uint32_t>(random() % bound);
    };
    Conv2dShape shape;
    shape.batch = 1 + below(3);
    shape.kernel = 1 + below(round % 8 == 0 ? 17 : 7);
    shape.in_channels = 1 + below(round % 4 == 0 ? 12 : 3);
    shape.out_channels = 1 + below(round % 8 == 0 ? 70 : 12);
    shape.stride = 1 + below(round % 2 == 0 ? 1 : shape.kernel + 1);
    shape.pad_before = below(4);
    shape.pad_after = below(4);
    shape.height = shape.kernel + below(7);
    shape.width = shape.kernel + (round % 16 == 0 ? 60 + below(160) : below(72));
    ASSERT_NO_FATAL_FAILURE(check_image_gradient(shape, random));
  }
}

// Around where lines and channels are cut, and vectors end.
TEST(Conv2d, GradientsOfImagesOfLongLinesAndManyChannels) {
  std::mt19937_64 random(12);
  for (const std::uint32_t width : {95u, 96u, 97u, 192u, 193u}) {
    ASSERT_NO_FATAL_FAILURE(check_image_gradient({1, 6, width + 4, 1, 36, 5, 1, 0, 0}, random));
  }
  for (const std::uint32_t channels : {33u, 34u, 35u, 36u, 37u, 69u}) {
    ASSERT_NO_FATAL_FAILURE(check_image_gradient({2, 6, 99, 1, channels, 5, 1, 0, 0}, random));
  }
  check_image_gradient({1, 17, 120, 4, 23, 16, 1, 0, 0}, random);  // the largest it takes
  check_image_gradient({2, 20, 33, 4, 9, 16, 5, 3, 2}, random);
  check_image_gradient({128, 7, 11, 1, 3, 3, 1, 0, 0}, random);
}

TEST(Conv2d, EmptyBatchesAndChannels) {
  std::mt19937_64 random(4);
  check_shape({0, 5, 5, 2, 3, 3, 1, 0, 0}, random);
  check_shape({2, 5, 5, 0, 3, 3, 1, 0, 0}, random);
  check_shape({2, 5, 5, 2, 0, 3, 1, 0, 0}, random);
}

TEST(Conv2d, WorkspaceStaysBounded) {
  const Conv2dShape huge{100000, 224, 224, 64, 64, 3, 1, 1, 1};
  EXPECT_LT(conv2d_workspace_size_bytes(huge), std::size_t{6} << 20);
}

TEST(Conv2dDeathTest, RefusesShapesWithoutAResult) {
  EXPECT_DEATH(conv2d_workspace_size_bytes({1, 3, 9, 1, 1, 4, 1, 0, 0}), "larger than");
  EXPECT_DEATH(conv2d_workspace_size_bytes({1, 3, 9, 1, 1, 3, 0, 0, 0}), "stride");
}

}  // namespace
}  // namespace beaverpond
