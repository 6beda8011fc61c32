// The kernels whose threads work alone, in small grids: each functor against a plain loop, operands
// of convolutions against the CPU's backend, and without races (the same program under
// ThreadSanitizer): two threads that write one word show there.
#include <gtest/gtest.h>

#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/conv_operands.h"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/probe.cuh"
#include "kernels/cuda/simt_product.cuh"
#include "kernels/cuda/xor_reduce.cuh"
#include "simt/run.h"
#include "tests/kernels/cuda/kernel_test.h"

namespace beaverpond::cuda {
namespace {

class ElementKernels : public KernelTest {
 protected:
  /// Fewer threads than elements, so that some take two, and some none of the last round.
  template <class F>
  void run(const F& f, std::uint64_t count) {
    simt::run(options_, &for_each_index<F>, 2, 24, 0, f, count);
  }
  /// `expected(i)` is what `out` holds at i after f has run.
  template <class F, class Expected>
  void check(const char* what, const F& f, const WordList& out, Expected expected) {
    SCOPED_TRACE(what);
    WordList wanted(out.size());
    for (std::size_t i = 0; i < out.size(); ++i) wanted[i] = expected(i);
    run(f, out.size());
    EXPECT_EQ(out, wanted);
  }
};

INSTANTIATE_TEST_SUITE_P(Schedules, ElementKernels, ::testing::Values(1, 2, 3));

TEST_P(ElementKernels, Arithmetic) {
  constexpr std::size_t kCount = 70;
  const WordList x = words(kCount), y = words(kCount), row = words(7), start = words(kCount);
  WordList o = start;
  check("add", AddElement{x.data(), y.data(), o.data()}, o, [&](auto i) { return x[i] + y[i]; });
  check("subtract", SubtractElement{x.data(), y.data(), o.data()}, o,
        [&](auto i) { return x[i] - y[i]; });
  check("multiply", MultiplyElement{x.data(), y.data(), o.data()}, o,
        [&](auto i) { return x[i] * y[i]; });
  o = start;
  check("multiply and add", MultiplyAddElement{x.data(), y.data(), o.data()}, o,
        [&](auto i) { return start[i] + x[i] * y[i]; });
  check("add a constant", AddConstantElement{x.data(), 9, o.data()}, o,
        [&](auto i) { return x[i] + 9; });
  check("multiply by a constant", MultiplyConstantElement{x.data(), 9, o.data()}, o,
        [&](auto i) { return x[i] * 9; });
  o = start;
  check("subtract scaled", SubtractScaledElement{x.data(), 9, o.data()}, o,
        [&](auto i) { return start[i] - 9 * x[i]; });
  check("shift", ShiftLeftElement{x.data(), 11, o.data()}, o, [&](auto i) { return x[i] << 11; });
  check("add a row", AddRowElement{x.data(), row.data(), 7, o.data()}, o,
        [&](auto i) { return x[i] + row[i % 7]; });
  o = start;
  check("mask", MaskLowElement{255, o.data()}, o, [&](auto i) { return start[i] & 255; });
}

TEST_P(ElementKernels, Rows) {
  constexpr std::size_t kWords = 5, kBegin = 1, kStep = 3, kRows = 14;
  const WordList all = words(kWords * (kBegin + kStep * kRows)), some = words(kWords * kRows);
  WordList out(some.size()), spread(all.size());
  const auto place = [](std::size_t i) {
    return (kBegin + i / kWords * kStep) * kWords + i % kWords;
  };
  check("rows", RowsElement{all.data(), kWords, kBegin, kStep, out.data()}, out,
        [&](auto i) { return all[place(i)]; });
  run(SpreadRowsElement{some.data(), kWords, kBegin, kStep, spread.data()}, some.size());
  WordList expected(all.size());
  for (std::size_t i = 0; i < some.size(); ++i) expected[place(i)] = some[i];
  EXPECT_EQ(spread, expected);
}

/// Windows overlap, so that image words gather from several threads.
TEST_P(ElementKernels, Windows) {
  const Pool2dShape shape{1, 4, 3, 2, 2, 2, 1, 1, 0, GetParam() % 2 == 0};
  const std::unique_ptr<Backend> cpu = make_cpu_backend();
  WordList images = words(shape.image_shape().count());
  WordList seen = words(shape.taps() * shape.pixels());
  WordList expected(seen.size()), out(seen.size()), back(images.size()), gathered(images.size());
  cpu->window(shape, images, expected, kHostStream);
  cpu->window_grad(shape, seen, back, kHostStream);
  ASSERT_TRUE(cpu->synchronize(kHostStream).ok());
  const WindowGeometry geometry = window_geometry(shape);
  run(WindowElement{geometry, images.data(), shape.pixels(), out.data()}, out.size());
  run(WindowGradElement{geometry, seen.data(), shape.pixels(), gathered.data()}, seen.size());
  EXPECT_EQ(out, expected);
  EXPECT_EQ(gathered, back);
}

template <class A, class B>
void multiply(const simt::Options& options, const A& a, const B& b, WordList& out, std::uint64_t m,
              std::uint64_t n, std::uint64_t k) {
  using Tile = SimtNarrow;
  simt::run(options, &multiply_words<Tile, A, B>, 1, Tile::kThreads, Tile::kSharedBytes, a, b,
            out.data(), static_cast<std::uint32_t>(m), static_cast<std::uint32_t>(n),
            static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(k), false);
}

/// Patches, taps, gradients and weights where they lie: strides, padding, several channels.
TEST_P(ElementKernels, ConvolutionsGatherTheirOperands) {
  const Conv2dShape s{1, 5, 6, 2, 3, 3, 2, 1, 1};
  const std::unique_ptr<Backend> cpu = make_cpu_backend();
  WordList image = words(s.image_shape().count());
  WordList weight = words(s.weight_shape().count());
  WordList gradient = words(s.result_shape().count());
  const auto expected = [&](ConvKind kind, WordList& x, WordList& y, std::size_t size) {
    WordList out(size);
    cpu->conv2d(kind, s, x, y, out, false, kHostStream);
    EXPECT_TRUE(cpu->synchronize(kHostStream).ok());
    return out;
  };
  WordList result(gradient.size()), weights(weight.size()), images(image.size());
  multiply(options_, PatchOperand{patches_of(s, image.data()), true},
           MatrixOperand{weight.data(), 1, s.out_channels, false}, result, s.patch_rows(),
           s.out_channels, s.patch_columns());
  EXPECT_EQ(result, expected(ConvKind::kForward, image, weight, result.size()));
  multiply(options_, TapOperand{patches_of(s, image.data()), false},
           MatrixOperand{gradient.data(), 1, s.out_channels, false}, weights, s.patch_columns(),
           s.out_channels, s.patch_rows());
  EXPECT_EQ(weights, expected(ConvKind::kGradWeight, image, gradient, weights.size()));
  multiply(options_, gradient_of(s, gradient.data()),
           WeightOperand{weight.data(), s.in_channels, FastDivide(s.out_channels), true}, images,
           std::uint64_t{s.batch} * s.height * s.width, s.in_channels,
           std::uint64_t{s.kernel} * s.kernel * s.out_channels);
  EXPECT_EQ(images, expected(ConvKind::kGradInput, gradient, weight, images.size()));
}

TEST_P(ElementKernels, PartsOfBits) {
  constexpr std::size_t kWords = 70;
  const WordList parts = words(3 * kWords);
  WordList out(kWords);
  simt::run(options_, &xor_reduce<std::uint64_t>, 2, 24, 0, parts.data(), out.data(), kWords, 3);
  for (std::size_t i = 0; i < kWords; ++i) {
    ASSERT_EQ(out[i], parts[i] ^ parts[kWords + i] ^ parts[2 * kWords + i]) << i;
  }
}

TEST_P(ElementKernels, Probe) {
  std::vector<unsigned long long> out(40);
  simt::run(options_, &probe_kernel, 2, 32, 0, out.data(), 40u);
  for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], (i + 1) * kProbeFactor) << i;
}

}  // namespace
}  // namespace beaverpond::cuda
