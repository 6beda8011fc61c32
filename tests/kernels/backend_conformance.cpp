#include "tests/kernels/backend_conformance.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/kernels/two_backends.h"

namespace beaverpond {
namespace {

using Tensors = std::vector<Tensor>;

class BackendConformance : public TwoBackends {};

constexpr PrgKind kPrgs[] = {PrgKind::kAes128Ctr, PrgKind::kChaCha20};

TEST_F(BackendConformance, StreamsAreTheSameWords) {
  for (const PrgKind prg : kPrgs) {
    for (const std::size_t count : {1u, 7u, 8u, 9u, 31u, 64u, 513u, 4096u, 100001u}) {
      const std::size_t words = count > 5000 ? scaled(count) : count;
      const Seed seed = random_seed(random_);
      const std::uint64_t index = random_();
      const std::string what = std::string(to_string(prg)) + " " + std::to_string(words);
      const std::uint64_t offset = 64 * (random_() % 1000);
      same(what + " fill", {}, words, [&](Backend& b, const Tensors&, const Tensor& out) {
        b.prg_fill(seed, prg, index, offset, out.bytes(), kHostStream);
      });
      same(what + " add", {}, words, [&](Backend& b, const Tensors&, const Tensor& out) {
        b.prg_add(seed, prg, index, out, kHostStream);
      });
      same(what + " subtract", {}, words, [&](Backend& b, const Tensors&, const Tensor& out) {
        b.prg_subtract(seed, prg, index, out, kHostStream);
      });
      same(what + " from an odd word on", {}, words + 1,
           [&](Backend& b, const Tensors&, const Tensor& out) {
             b.prg_add(seed, prg, index, out.words().subspan(1), kHostStream);
             b.prg_fill(seed, prg, index, 64, out.bytes().subspan(8, words * 8 - 2), kHostStream);
           });
      same(what + " bytes", {}, words, [&](Backend& b, const Tensors&, const Tensor& out) {
        b.prg_fill(seed, prg, index, 0, out.bytes().first(words * 8 - 3), kHostStream);
      });
    }
  }
}

TEST_F(BackendConformance, Elements) {
  for (const std::size_t count :
       {std::size_t{1}, std::size_t{255}, std::size_t{1000}, scaled(300000)}) {
    const HostWords x = random_words(count, random_);
    const HostWords y = random_words(count, random_);
    const std::uint64_t c = random_();
    const auto with = [&](const std::string& what, auto f) {
      same(what + " " + std::to_string(count), {x, y}, count,
           [&](Backend& b, const Tensors& t, const Tensor& out) { f(b, t, out); });
    };
    with("add",
         [](Backend& b, const Tensors& t, const Tensor& o) { b.add(t[0], t[1], o, kHostStream); });
    with("subtract", [](Backend& b, const Tensors& t, const Tensor& o) {
      b.subtract(t[0], t[1], o, kHostStream);
    });
    with("multiply", [](Backend& b, const Tensors& t, const Tensor& o) {
      b.multiply(t[0], t[1], o, false, kHostStream);
      b.multiply(t[1], t[1], o, true, kHostStream);
    });
    with("constants", [&](Backend& b, const Tensors& t, const Tensor& o) {
      b.add_constant(t[0], c, o, kHostStream);
      b.subtract_scaled(c, t[1], o, kHostStream);
      b.shift_left(o, 13, o, kHostStream);
    });
    with("copy",
         [](Backend& b, const Tensors& t, const Tensor& o) { b.copy(t[0], o, kHostStream); });
    with("public words", [&](Backend& b, const Tensors& t, const Tensor& o) {
      b.add_public(t[0], y, true, o, kHostStream);
      b.multiply_public(o, x, o, kHostStream);
      const HostWords one = {c};
      b.add_public(o, one, true, o, kHostStream);
      b.add_public(o, one, false, o, kHostStream);
      b.multiply_public(o, one, o, kHostStream);
      EXPECT_TRUE(b.synchronize(kHostStream).ok());
    });
    with("zero",
         [](Backend& b, const Tensors&, const Tensor& o) { b.zero(o.bytes(), kHostStream); });
  }
}

TEST_F(BackendConformance, Layout) {
  struct Case {
    std::uint64_t m, n;
  };
  for (const Case c :
       {Case{1, 1}, Case{3, 70}, Case{65, 33}, Case{128, 10}, Case{700, 257}, Case{2, 5000}}) {
    const HostWords x = random_words(c.m * c.n, random_);
    const HostWords row = random_words(c.n, random_);
    const std::string what = std::to_string(c.m) + "x" + std::to_string(c.n);
    same("transpose " + what, {x}, x.size(), [&](Backend& b, const Tensors& t, const Tensor& o) {
      b.transpose(c.m, c.n, t[0], o, kHostStream);
    });
    same("add_row " + what, {x, row}, x.size(), [&](Backend& b, const Tensors& t, const Tensor& o) {
      b.add_row(t[0], t[1], o, kHostStream);
    });
    same("sum_rows " + what, {x}, c.n,
         [&](Backend& b, const Tensors& t, const Tensor& o) { b.sum_rows(t[0], o, kHostStream); });
    const std::uint64_t picked = (c.m + 1) / 2;
    same("rows " + what, {x}, picked * c.n, [&](Backend& b, const Tensors& t, const Tensor& o) {
      b.rows(c.n, 0, 2, t[0], o, kHostStream);
    });
    const HostWords some = random_words(picked * c.n, random_);
    same("spread_rows " + what, {some}, x.size(),
         [&](Backend& b, const Tensors& t, const Tensor& o) {
           b.spread_rows(c.n, 0, 2, t[0], o, kHostStream);
         });
  }
}

TEST_F(BackendConformance, Windows) {
  for (const bool clamp : {false, true}) {
    for (const std::uint32_t stride : {1u, 2u, 3u}) {
      Pool2dShape p;
      p.batch = 3;
      p.height = 9;
      p.width = 11;
      p.channels = 5;
      p.window_height = 2;
      p.window_width = 3;
      p.stride = stride;
      p.pad_before = 1;
      p.pad_after = 1;
      p.clamp = clamp;
      const HostWords image = random_words(p.image_shape().count(), random_);
      const HostWords seen = random_words(p.taps() * p.pixels(), random_);
      const std::string what = "stride " + std::to_string(stride) + (clamp ? " clamped" : "");
      same("window " + what, {image}, seen.size(),
           [&](Backend& b, const Tensors& t, const Tensor& o) {
             b.window(p, t[0], o, kHostStream);
           });
      same("window_grad " + what, {seen}, image.size(),
           [&](Backend& b, const Tensors& t, const Tensor& o) {
             b.window_grad(p, t[0], o, kHostStream);
           });
    }
  }
}

void fill_extreme(HostWords& words, std::uint64_t word) {
  for (std::uint64_t& w : words) w = word;
}

TEST_F(BackendConformance, MatMulOfAnyShape) {
  struct Case {
    std::uint64_t m, n, k;
  };
  std::vector<Case> cases = {{1, 1, 1},     {3, 5, 7},     {17, 16, 33},  {70, 10, 300},
                             {100, 20, 65}, {64, 50, 64},  {129, 65, 15}, {5, 64, 3000},
                             {1, 200, 129}, {200, 1, 1000}};
  if (tested().scale >= 1) {
    for (const Case c :
         {Case{512, 512, 512}, Case{130, 257, 1000}, Case{1000, 300, 129}, Case{256, 256, 11136},
          Case{256, 256, 11137}, Case{140, 200, 30000}, Case{5000, 1, 5000}, Case{20, 25, 73728}}) {
      cases.push_back(c);
    }
  }
  for (const Case& c : cases) {
    for (const int transposed : {0, 1, 2, 3}) {
      const MatMulShape shape{c.m, c.n, c.k, (transposed & 1) != 0, (transposed & 2) != 0};
      const HostWords x = random_words(c.m * c.k, random_);
      const HostWords y = random_words(c.k * c.n, random_);
      const std::string what = std::to_string(c.m) + "x" + std::to_string(c.n) + "x" +
                               std::to_string(c.k) + " transposed " + std::to_string(transposed);
      same(what, {x, y}, c.m * c.n, [&](Backend& b, const Tensors& t, const Tensor& o) {
        b.matmul(shape, t[0], t[1], o, false, kHostStream);
        b.matmul(shape, t[0], t[1], o, true, kHostStream);
      });
    }
  }
}

TEST_F(BackendConformance, MatMulOfExtremeWords) {
  const std::uint64_t lowest = std::uint64_t{1} << 63;
  const std::size_t k = tested().scale >= 1 ? 11136 : 200;
  const std::size_t m = tested().scale >= 1 ? 160 : 20;
  for (const std::uint64_t a : {lowest, lowest - 1, ~std::uint64_t{0}, lowest + 1}) {
    for (const std::uint64_t b : {lowest, lowest - 1}) {
      HostWords x(m * k);
      HostWords y(k * m);
      fill_extreme(x, a);
      fill_extreme(y, b);
      same(std::to_string(a) + " * " + std::to_string(b), {x, y}, m * m,
           [&](Backend& backend, const Tensors& t, const Tensor& o) {
             backend.matmul({m, m, k, false, false}, t[0], t[1], o, false, kHostStream);
           });
    }
  }
}

TEST_F(BackendConformance, Convolutions) {
  std::vector<Conv2dShape> shapes = {
      {.batch = 2, .height = 9, .width = 7, .in_channels = 3, .out_channels = 4, .kernel = 3},
      {.batch = 3,
       .height = 8,
       .width = 8,
       .in_channels = 1,
       .out_channels = 5,
       .kernel = 5,
       .stride = 2,
       .pad_before = 2,
       .pad_after = 2},
      {.batch = 1,
       .height = 6,
       .width = 10,
       .in_channels = 17,
       .out_channels = 33,
       .kernel = 3,
       .stride = 3,
       .pad_before = 0,
       .pad_after = 1},
      {.batch = 2, .height = 5, .width = 5, .in_channels = 2, .out_channels = 70, .kernel = 1}};
  if (tested().scale >= 1) {
    shapes.push_back({.batch = 128,
                      .height = 28,
                      .width = 28,
                      .in_channels = 1,
                      .out_channels = 20,
                      .kernel = 5});
    shapes.push_back({.batch = 128,
                      .height = 12,
                      .width = 12,
                      .in_channels = 20,
                      .out_channels = 50,
                      .kernel = 5});
    shapes.push_back({.batch = 16,
                      .height = 14,
                      .width = 14,
                      .in_channels = 128,
                      .out_channels = 128,
                      .kernel = 3,
                      .pad_before = 1,
                      .pad_after = 1});
  }
  for (const Conv2dShape& s : shapes) {
    const HostWords images = random_words(s.image_shape().count(), random_);
    const HostWords weights = random_words(s.weight_shape().count(), random_);
    const HostWords gradient = random_words(s.result_shape().count(), random_);
    const auto run = [&](const char* what, ConvKind kind, const HostWords& x, const HostWords& y,
                         std::size_t out_words) {
      same(std::string(what) + " " + s.image_shape().str() + s.weight_shape().str(), {x, y},
           out_words, [&](Backend& b, const Tensors& t, const Tensor& o) {
             b.conv2d(kind, s, t[0], t[1], o, false, kHostStream);
             b.conv2d(kind, s, t[0], t[1], o, true, kHostStream);
           });
    };
    run("forward", ConvKind::kForward, images, weights, gradient.size());
    run("grad weight", ConvKind::kGradWeight, images, gradient, weights.size());
    run("grad input", ConvKind::kGradInput, gradient, weights, images.size());
  }
}

TEST_F(BackendConformance, DownloadsTravelBesideWhatFollows) {
  const std::size_t count = scaled(1000000);
  const HostWords x = random_words(count, random_);
  const Tensor first(device(), x);
  const Tensor second(device(), x);
  Result<Buffer> host = device().allocate_host(ByteCount{count * 8});
  ASSERT_TRUE(host.ok()) << host.error().message;
  device().add_constant(first, 1, first, kHostStream);
  device().download(first.bytes(), host.value().bytes(), kHostStream);
  device().add(first, second, second, kHostStream);
  ASSERT_TRUE(device().synchronize(kHostStream).ok());
  for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(host.value().words()[i], x[i] + 1) << i;
  const HostWords sum = second.read();
  for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(sum[i], 2 * x[i] + 1) << i;
}

TEST_F(BackendConformance, TooMuchMemoryIsAnErrorAndNothingElse) {
  const Result<Buffer> huge = device().allocate(ByteCount{std::uint64_t{1} << 50});
  ASSERT_FALSE(huge.ok());
  EXPECT_EQ(huge.error().code, ErrorCode::kOutOfMemory) << huge.error().message;
  const Tensor x(device(), {1, 2, 3});
  device().add(x, x, x, kHostStream);
  EXPECT_EQ(x.read(), (HostWords{2, 4, 6}));
}

TEST_F(BackendConformance, MemoryStartsZeroed) {
  for (int i = 0; i < 3; ++i) {
    const Tensor used(device(), random_words(5000, random_));
    (void)used;
  }
  Result<Buffer> buffer = device().allocate(ByteCount{40000});
  ASSERT_TRUE(buffer.ok());
  HostWords host(5000, 1);
  device().download(buffer.value().bytes(), bytes_of(Words(host)), kHostStream);
  ASSERT_TRUE(device().synchronize(kHostStream).ok());
  for (const std::uint64_t word : host) ASSERT_EQ(word, 0u);
}

}  // namespace
}  // namespace beaverpond
