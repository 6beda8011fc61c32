// Every operation of the CPU backend that touches secrets, on marked operands, seeds and material.
#include <memory>

#include "kernels/backend.h"
#include "kernels/cpu/prg.h"
#include "kernels/gemm/gemm.h"
#include "tests/constant_time/marks.h"

namespace beaverpond {
namespace {

using testing::declassify;
using testing::expect_constant_time;
using testing::random_words;
using testing::secret_seed;
using testing::secret_seeds;
using testing::secret_words;
using testing::WordVector;

constexpr PrgKind kPrgs[] = {PrgKind::kAes128Ctr, PrgKind::kChaCha20};

class ConstantTime : public ::testing::Test {
 protected:
  /// f(operands, out) on operands that are secret.
  template <class F>
  void operation(const std::string& what, std::initializer_list<std::size_t> operand_sizes,
                 std::size_t out_size, F&& f) {
    std::vector<WordVector> operands;
    for (const std::size_t size : operand_sizes) operands.push_back(secret_words(size, random_));
    WordVector out = secret_words(out_size, random_);
    expect_constant_time(what, std::span(out), [&] { f(operands, out); });
  }

  Backend& backend() { return *backend_; }
  std::mt19937_64 random_{7};

 private:
  std::unique_ptr<Backend> backend_ = make_cpu_backend();
};

using Operands = std::vector<WordVector>;

TEST_F(ConstantTime, Streams) {
  for (const PrgKind kind : kPrgs) {
    for (const std::size_t words : {1u, 7u, 64u, 333u}) {
      const std::string what = std::string(to_string(kind)) + " " + std::to_string(words);
      const Seed seed = secret_seed(random_);
      operation(what + " key", {}, words, [&](const Operands&, Words out) {
        const Prg prg(seed, kind);
        prg.exclusive_or(3, 64, out);
      });
      operation(what + " fill", {}, words, [&](const Operands&, Words out) {
        backend().prg_fill(seed, kind, 5, 128, bytes_of(out), kHostStream);
      });
      operation(what + " bytes", {}, words, [&](const Operands&, Words out) {
        backend().prg_fill(seed, kind, 5, 0, bytes_of(out).first(words * 8 - 3), kHostStream);
      });
      operation(what + " add", {}, words, [&](const Operands&, Words out) {
        backend().prg_add(seed, kind, 6, out, kHostStream);
      });
      operation(what + " subtract", {}, words, [&](const Operands&, Words out) {
        backend().prg_subtract(seed, kind, 7, out, kHostStream);
      });
    }
  }
}

TEST_F(ConstantTime, RingProducts) {
  struct Size {
    std::size_t m, n, k;
  };
  for (const Size s : {Size{1, 1, 1}, Size{7, 5, 3}, Size{8, 64, 40}, Size{50, 70, 33},
                       Size{65, 17, 300}, Size{130, 66, 20}}) {
    for (const int transposed : {0, 1, 2, 3}) {
      const MatMulShape shape{s.m, s.n, s.k, (transposed & 1) != 0, (transposed & 2) != 0};
      const std::string what = std::to_string(s.m) + "x" + std::to_string(s.k) + "x" +
                               std::to_string(s.n) + " transposed " + std::to_string(transposed);
      for (const bool accumulate : {false, true}) {
        operation("product " + what, {s.m * s.k, s.k * s.n}, s.m * s.n,
                  [&](const Operands& x, Words out) {
                    backend().matmul(shape, x[0], x[1], out, accumulate, kHostStream);
                  });
      }
      operation("two products " + what, {s.m * s.k, s.k * s.n, s.m * s.k, s.k * s.n}, s.m * s.n,
                [&](const Operands& x, Words out) {
                  backend().add_matmuls(shape, {x[0], x[1]}, {x[2], x[3]}, out, kHostStream);
                });
    }
  }
}

TEST_F(ConstantTime, ProductsOfTwoThreads) {
  const std::unique_ptr<Backend> two = make_cpu_backend(2);
  operation("shared product", {128 * 128, 128 * 128}, 128 * 128, [&](const Operands& x, Words out) {
    two->matmul({128, 128, 128}, x[0], x[1], out, false, kHostStream);
  });
}

TEST_F(ConstantTime, Convolutions) {
  const Conv2dShape shapes[] = {
      {2, 6, 6, 3, 4, 3, 1, 1, 1}, {3, 9, 8, 1, 5, 5, 1, 0, 0}, {1, 8, 8, 5, 20, 3, 2, 0, 1}};
  for (const Conv2dShape& shape : shapes) {
    const std::size_t images = shape.image_shape().count();
    const std::size_t weights = shape.weight_shape().count();
    const std::size_t results = shape.result_shape().count();
    struct Kind {
      ConvKind kind;
      std::size_t x, y, out;
    };
    for (const Kind k : {Kind{ConvKind::kForward, images, weights, results},
                         Kind{ConvKind::kGradWeight, images, results, weights},
                         Kind{ConvKind::kGradInput, results, weights, images}}) {
      const std::string what = "convolution " + std::to_string(static_cast<int>(k.kind));
      operation(what, {k.x, k.y}, k.out, [&](const Operands& x, Words out) {
        backend().conv2d(k.kind, shape, x[0], x[1], out, false, kHostStream);
      });
      operation(what + " twice", {k.x, k.y, k.x, k.y}, k.out, [&](const Operands& x, Words out) {
        backend().add_conv2ds(k.kind, shape, {x[0], x[1]}, {x[2], x[3]}, out, kHostStream);
      });
    }
  }
}

TEST_F(ConstantTime, Elements) {
  constexpr std::size_t kCount = 77;
  const auto with = [&](const std::string& what, auto f) {
    operation(what, {kCount, kCount}, kCount, f);
  };
  with("add", [&](const Operands& x, Words o) { backend().add(x[0], x[1], o, kHostStream); });
  with("subtract",
       [&](const Operands& x, Words o) { backend().subtract(x[0], x[1], o, kHostStream); });
  for (const bool accumulate : {false, true}) {
    with("multiply", [&](const Operands& x, Words o) {
      backend().multiply(x[0], x[1], o, accumulate, kHostStream);
    });
  }
  with("constants", [&](const Operands& x, Words o) {
    backend().add_constant(x[0], x[1][0], o, kHostStream);
    backend().subtract_scaled(3, x[1], o, kHostStream);
    backend().shift_left(o, 13, o, kHostStream);
  });
  with("rows", [&](const Operands& x, Words o) {
    backend().add_row(x[0], Words(o).first(7), o, kHostStream);
    backend().sum_rows(x[0], o.first(11), kHostStream);
    backend().transpose(7, 11, x[0], o, kHostStream);
    backend().rows(7, 1, 2, x[0], o.first(35), kHostStream);
    backend().spread_rows(7, 0, 2, std::span(x[0]).first(35), o, kHostStream);
    backend().copy(x[0], o, kHostStream);
  });
  with("public words", [&](const Operands& x, Words o) {
    const WordVector each = random_words(kCount, random_);
    const WordVector one = {42};
    for (const bool designated : {false, true}) {
      backend().add_public(x[0], each, designated, o, kHostStream);
      backend().add_public(o, one, designated, o, kHostStream);
    }
    backend().multiply_public(o, each, o, kHostStream);
    backend().multiply_public(o, one, o, kHostStream);
  });
  const Pool2dShape pool{2, 6, 6, 4, 2, 2, 2, 0, 0, true};
  operation("window", {pool.image_shape().count()}, pool.taps() * pool.pixels(),
            [&](const Operands& x, Words o) { backend().window(pool, x[0], o, kHostStream); });
  operation("window_grad", {pool.taps() * pool.pixels()}, pool.image_shape().count(),
            [&](const Operands& x, Words o) { backend().window_grad(pool, x[0], o, kHostStream); });
}

// ---- Comparisons ----

struct CompareCase {
  CompareUse use;
  int shift;
};
constexpr CompareCase kCompareCases[] = {
    {CompareUse::kTruncate, 16},     {CompareUse::kTruncate, 45},
    {CompareUse::kReluTruncate, 16}, {CompareUse::kReluTruncate, 20},
    {CompareUse::kRelu, 0},          {CompareUse::kTruncateTimesBit, 17},
    {CompareUse::kMultiplyBit, 0}};

/// Calls f(what, layout, count) for both profiles.
template <class F>
void for_each_comparison(F&& f) {
  for (const bool wide : {false, true}) {
    for (const CompareCase& c : kCompareCases) {
      if (wide && c.use == CompareUse::kMultiplyBit) continue;  // there is no comparison in it
      const CompareLayout layout =
          wide ? make_wide_compare_layout(c.use, c.shift) : make_compare_layout(c.use, c.shift);
      for (const std::size_t count : {65u, 513u}) {
        f(std::string(wide ? "wan" : "lan") + " use " + std::to_string(static_cast<int>(c.use)) +
              " shift " + std::to_string(c.shift) + " count " + std::to_string(count),
          layout, count);
      }
    }
  }
}

/// One player's rounds. What was opened (the word, then planes) is public; shares, seed and
/// correction are secret.
void expect_rounds_in_constant_time(Backend& backend, const std::string& what,
                                    const CompareLayout& layout, std::size_t count,
                                    const Material& material, std::mt19937_64& random) {
  const auto packed = [&](int planes) {
    return packed_words(static_cast<std::uint64_t>(planes), count);
  };
  const bool takes_bit =
      layout.use == CompareUse::kTruncateTimesBit || layout.use == CompareUse::kMultiplyBit;
  const int root_wires = layout.has_root ? layout.root.wires() : 0;
  const WordVector x = secret_words(count, random);
  WordVector opened = random_words(count, random);
  const WordVector leaf = random_words(packed(layout.leaf_wires), random);
  const WordVector root = random_words(packed(root_wires), random);
  const WordVector final_bits = random_words(packed(layout.final_bits), random);
  const WordVector forward_delta = random_words(packed(1), random);
  const WordVector forward_b = secret_words(count, random);
  Result<Buffer> kept = backend.allocate(ByteCount{compare_kept_words(layout, count) * 8});
  ASSERT_TRUE(kept.ok());
  WordVector delta(packed(1)), words(count), leaf_out(leaf.size()), root_out(root.size()),
      final_out(final_bits.size()), out(count), b(layout.wants_sign ? count : 0);

  CompareState state;
  state.layout = &layout;
  state.count = count;
  state.material = material;
  state.opened = opened;
  state.kept = kept->words();
  state.delta = delta;
  BitShare forward;
  if (takes_bit) forward = {forward_delta, forward_b};
  expect_constant_time(what + ": open", std::span(words),
                       [&] { backend.compare_open(state, x, 0x123456789, words, kHostStream); });
  if (layout.nodes > 0) {
    expect_constant_time(what + ": leaves", std::span(leaf_out),
                         [&] { backend.compare_leaves(state, leaf_out, kHostStream); });
    const std::span<std::uint64_t> after_nodes =
        root_out.empty() ? kept->words() : std::span(root_out);
    expect_constant_time(what + ": nodes", after_nodes,
                         [&] { backend.compare_nodes(state, leaf, root_out, kHostStream); });
    expect_constant_time(what + ": root", std::span(final_out),
                         [&] { backend.compare_root(state, root, final_out, kHostStream); });
  }
  expect_constant_time(what + ": finish", std::span(out), [&] {
    backend.compare_finish(state, final_bits, x, forward, out, b, kHostStream);
  });
  if (layout.wants_sign) {
    expect_constant_time(what + ": bit", std::span(out), [&] {
      backend.bit_to_word({delta, b}, material.designated, out, kHostStream);
    });
  }
}

TEST_F(ConstantTime, ComparisonsInBothProfiles) {
  for_each_comparison([&](const std::string& what, const CompareLayout& layout, std::size_t count) {
    const Seed seed = secret_seed(random_);
    const WordVector correction =
        secret_words(layout.blocks(count) * layout.correction_record_bytes() / 8, random_);
    for (const bool designated : {false, true}) {
      Material material;
      material.seed = &seed;
      material.prg = kPrgs[count % 2];
      material.mask_stream = 4;
      material.correction_stream = 5;
      material.designated = designated;
      if (designated) material.correction = bytes_of(ConstWords(correction)).data();
      expect_rounds_in_constant_time(backend(), what, layout, count, material, random_);
    }
  });
}

TEST_F(ConstantTime, DealingComparisons) {
  const CompareLayout forward = make_compare_layout(CompareUse::kReluTruncate, 16);
  for_each_comparison([&](const std::string& what, const CompareLayout& layout, std::size_t count) {
    const std::vector<Seed> seeds = secret_seeds(3, random_);
    WordVector out(layout.blocks(count) * layout.correction_record_bytes() / 8);
    Backend::DealCompare deal;
    deal.layout = &layout;
    deal.count = count;
    deal.prg = kPrgs[count % 2];
    deal.seeds = seeds;
    deal.designated = 1;
    deal.mask_stream = 4;
    deal.correction_stream = 5;
    deal.correction = bytes_of(Words(out));
    if (layout.use == CompareUse::kTruncateTimesBit || layout.use == CompareUse::kMultiplyBit) {
      deal.forward_layout = &forward;
      deal.forward_mask_stream = 2;
    }
    expect_constant_time("dealing " + what, std::span(out),
                         [&] { backend().deal_compare(deal, kHostStream); });
  });
}

// ---- Lookups ----

TEST_F(ConstantTime, LookupsByTheOpenedIndex) {
  constexpr std::size_t kCount = 37;
  for (const int bits : {1, 3, 8}) {
    const std::string what = "lookup of " + std::to_string(bits) + " bits";
    const std::size_t size = std::size_t{1} << bits;
    const WordVector table = random_words(size, random_);
    const std::vector<Seed> seeds = secret_seeds(2, random_);
    WordVector correction(kCount * size), words(kCount);
    Backend::DealLookup deal;
    deal.table = table;
    deal.count = kCount;
    deal.seeds = seeds;
    deal.mask_stream = 5;
    deal.correction_stream = 9;
    deal.correction = correction;
    expect_constant_time(what + ", dealt", std::span(correction),
                         [&] { backend().deal_lookup(deal, kHostStream); });
    const WordVector x = secret_words(kCount, random_);
    const WordVector opened = random_words(kCount, random_);
    for (const bool designated : {false, true}) {
      Material material;
      material.seed = &seeds[designated ? 0 : 1];
      material.mask_stream = 5;
      material.correction_stream = 9;
      material.designated = designated;
      if (designated) material.correction = bytes_of(ConstWords(correction)).data();
      expect_constant_time(what + ", masked", std::span(words),
                           [&] { backend().lookup_open(material, bits, x, words, kHostStream); });
      expect_constant_time(what + ", read", std::span(words), [&] {
        backend().lookup_finish(material, bits, opened, words, kHostStream);
      });
    }
  }
}

}  // namespace
}  // namespace beaverpond
