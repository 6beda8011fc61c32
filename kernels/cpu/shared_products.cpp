#include "kernels/cpu/shared_products.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <vector>

#include "beaverpond/check.h"

namespace beaverpond::cpu {
namespace {

constexpr std::size_t kMostFactors = 2;
/// Multiply-accumulates below which waking a helper costs more than it saves: about 0.1 ms.
constexpr std::size_t kLeastProducts = std::size_t{1} << 21;

/// Rows or columns of the smaller pieces, before the last: each packs all of the other operand,
/// which for fewer costs more than the waiting that it saves.
constexpr std::size_t kLeastLines = 256;

std::size_t aligned(std::size_t size_bytes) {
  return (size_bytes + 63) / 64 * 64;
}

struct Range {
  std::size_t first, count;
};

/// [0, count) in pieces that end at multiples of `unit`. Threads take the next piece when they are
/// done with one, so that one that gets no core keeps nobody waiting for long. Large pieces first,
/// since each costs something of its own: one for each thread takes three quarters of what is left,
/// until pieces would be smaller than `least`; the rest is shared equally.
class Pieces {
 public:
  Pieces(std::size_t count, std::size_t unit, std::size_t threads, std::size_t least) {
    std::size_t units = (count + unit - 1) / unit, at = 0;
    for (std::size_t size = units; size > 0; units -= std::min(units, size * threads)) {
      size = units * 3 / (4 * threads);
      if (size * unit < least) size = (units + threads - 1) / threads;
      for (std::size_t i = 0; i < threads; ++i, at += size) {
        const std::size_t from = std::min(at * unit, count);
        const std::size_t to = std::min((at + size) * unit, count);
        if (from < to) pieces_.push_back({from, to - from});
      }
    }
  }

  /// Calls visit(range) for pieces until none is left.
  template <class Visit>
  void take(Visit visit) {
    for (std::size_t i = next_++; i < pieces_.size(); i = next_++) visit(pieces_[i]);
  }

 private:
  std::vector<Range> pieces_;
  std::atomic<std::size_t> next_{0};
};

std::span<std::byte> part_of(std::span<std::byte> scratch, std::size_t size_bytes, int part) {
  return scratch.subspan(aligned(size_bytes) * static_cast<std::size_t>(part), size_bytes);
}

std::size_t gradient_words(ConvKind kind, const Conv2dShape& shape) {
  return kind == ConvKind::kGradWeight ? shape.weight_shape().count() : 0;
}

void convolve(ConvKind kind, const Conv2dShape& shape, std::span<const ConvFactors> factors,
              std::uint64_t* out, bool accumulate, std::span<std::byte> scratch) {
  switch (kind) {
    case ConvKind::kForward: return conv2d_sum(shape, factors, out, accumulate, scratch);
    case ConvKind::kGradWeight:
      return conv2d_grad_weight_sum(shape, factors, out, accumulate, scratch);
    case ConvKind::kGradInput:
      return conv2d_grad_input_sum(shape, factors, out, accumulate, scratch);
  }
}

}  // namespace

std::size_t shared_gemm_size_bytes(const Crew& crew) {
  return aligned(gemm_workspace_size_bytes()) * static_cast<std::size_t>(crew.size());
}

std::size_t shared_conv_size_bytes(const Crew& crew, ConvKind kind, const Conv2dShape& shape) {
  return (aligned(conv2d_workspace_size_bytes(shape)) + aligned(gradient_words(kind, shape) * 8)) *
         static_cast<std::size_t>(crew.size());
}

void shared_gemm(Crew& crew, std::span<const Factors> factors, std::uint64_t* c, std::size_t ldc,
                 bool accumulate, std::span<std::byte> scratch) {
  BP_CHECK(!factors.empty() && factors.size() <= kMostFactors, "one or two products");
  const std::size_t m = factors[0].a.rows, n = factors[0].b.columns;
  std::size_t k = 0;
  for (const Factors& f : factors) k += f.a.columns;
  // Rows are cut where there are enough of them: each part packs all of B.
  const auto parts = static_cast<std::size_t>(crew.size());
  const bool by_rows = m >= 16 * parts && (m >= n || m >= 128);
  const bool by_columns = !by_rows && n >= 16 * parts;
  if (m * n * k < kLeastProducts || !(by_rows || by_columns) || parts == 1) {
    return gemm_sum(factors, c, ldc, accumulate, scratch);
  }
  const std::size_t most = by_rows ? m : n;
  Pieces pieces(most, 8, parts, kLeastLines);
  crew.run([&](int part) {
    pieces.take([&](const Range& range) {
      std::array<Factors, kMostFactors> mine{};
      for (std::size_t f = 0; f < factors.size(); ++f) {
        auto& [a, b] = mine[f] = factors[f];
        if (by_rows) {
          a.data += range.first * a.row_stride;
          a.rows = range.count;
        } else {
          b.data += range.first * b.column_stride;
          b.columns = range.count;
        }
      }
      gemm_sum({mine.data(), factors.size()}, c + range.first * (by_rows ? ldc : 1), ldc,
               accumulate, part_of(scratch, gemm_workspace_size_bytes(), part));
    });
  });
}

void shared_conv(Crew& crew, ConvKind kind, const Conv2dShape& shape,
                 std::span<const ConvFactors> factors, std::uint64_t* out, bool accumulate,
                 std::span<std::byte> scratch) {
  BP_CHECK(!factors.empty() && factors.size() <= kMostFactors, "one or two convolutions");
  const int parts = crew.size();
  const std::size_t workspace_size = conv2d_workspace_size_bytes(shape);
  const std::size_t products =
      shape.patch_rows() * shape.patch_columns() * std::size_t{shape.out_channels};
  if (parts == 1 || shape.batch < static_cast<std::uint32_t>(parts) || products < kLeastProducts) {
    return convolve(kind, shape, factors, out, accumulate, scratch.first(workspace_size));
  }
  const std::size_t weights = gradient_words(kind, shape);
  const std::span<std::byte> sums =
      scratch.subspan(aligned(workspace_size) * static_cast<std::size_t>(parts));
  const auto sums_of = [&](int part) {
    return reinterpret_cast<std::uint64_t*>(part_of(sums, weights * 8, part).data());
  };
  const std::size_t image = shape.image_shape().count() / shape.batch;
  const std::size_t result = shape.result_shape().count() / shape.batch;
  const auto threads = static_cast<std::size_t>(parts);
  Pieces pieces(shape.batch, 1, threads, std::max<std::size_t>(shape.batch / (8 * threads), 1));
  std::vector<char> has_sums(threads, 0);  // by part: whether its sums hold anything
  crew.run([&](int part) {
    const bool aside = kind == ConvKind::kGradWeight && part > 0;
    char& summed = has_sums[static_cast<std::size_t>(part)];
    pieces.take([&](const Range& range) {
      Conv2dShape some = shape;
      some.batch = static_cast<std::uint32_t>(range.count);
      std::array<ConvFactors, kMostFactors> mine{};
      for (std::size_t f = 0; f < factors.size(); ++f) {
        mine[f] = factors[f];
        mine[f].x += range.first * (kind == ConvKind::kGradInput ? result : image);
        if (kind == ConvKind::kGradWeight) mine[f].y += range.first * result;
      }
      std::uint64_t* target = aside ? sums_of(part) : out;
      if (kind == ConvKind::kForward) target += range.first * result;
      if (kind == ConvKind::kGradInput) target += range.first * image;
      const bool add = (accumulate && !aside) || (kind == ConvKind::kGradWeight && summed != 0);
      convolve(kind, some, {mine.data(), factors.size()}, target, add,
               part_of(scratch, workspace_size, part));
      summed = 1;
    });
  });
  if (kind != ConvKind::kGradWeight) return;
  if (has_sums[0] == 0 && !accumulate) std::fill_n(out, weights, 0);
  for (int part = 1; part < parts; ++part) {
    if (has_sums[static_cast<std::size_t>(part)] == 0) continue;
    const std::uint64_t* more = sums_of(part);
    for (std::size_t i = 0; i < weights; ++i) out[i] += more[i];
  }
}

}  // namespace beaverpond::cpu
