// Operations over many elements, and those that move them.
#include <algorithm>

#include "online/api/recording.h"
#include "online/nn/blocks.h"

namespace beaverpond {
namespace {

constexpr std::uint64_t kMinusOne = ~std::uint64_t{0};

/// x as rows: [n] becomes [n, 1].
ValueId as_rows(Recording& r, ValueId x) {
  if (x == kNoValue) return x;
  const Shape shape = r.value(x).shape;
  if (shape.rank == 1) return r.builder().reshape(x, {shape[0], 1});
  if (shape.rank == 2) return x;
  return r.fail("shape " + shape.str() + " has more than two dimensions; reshape it first");
}

ValueId count_as_rows(Recording& r, ValueId x) {
  if (x == kNoValue) return x;
  const std::uint64_t count = r.value(x).shape.count();
  if (count > UINT32_MAX) return r.fail("a tensor of more than 2^32 elements");
  return r.builder().reshape(x, {static_cast<std::uint32_t>(count), 1});
}

ValueId negative(Recording& r, ValueId x) {
  return r.builder().multiply_public(x, {kMinusOne}, 0);
}

ValueId largest(Recording& r, ValueId x) {
  const ValueId rows = as_rows(r, x);
  if (rows == kNoValue) return rows;
  const Shape shape{r.value(rows).shape[1]};
  return r.builder().reshape(max_rows(r.builder(), rows).max, shape);
}

ValueId index_of_largest(Recording& r, ValueId x) {
  const ValueId rows = as_rows(r, x);
  if (rows == kNoValue) return rows;
  const Shape shape = r.value(rows).shape;
  if (shape[0] == 1) {
    return r.builder().reshape(r.builder().multiply_public(rows, {0}, 0), {shape[1]});
  }
  return r.reduced(argmax_rows(r.builder(), rows));
}

ValueId matrix_product(Recording& r, ValueId x, ValueId y) {
  const Shape a = r.value(x).shape;
  const Shape b = r.value(y).shape;
  if (a.rank != 2 || b.rank != 2 || a[1] != b[0]) {
    return r.fail("shapes " + a.str() + " and " + b.str() +
                  " do not fit; it takes [m,k] and [k,n]");
  }
  const ValueId left = r.reduced(x);
  const ValueId right = r.reduced(y);
  return r.builder().matmul(left, right);
}

/// Column by column: the words of a column times every row of x, summed along the row.
ValueId matrix_product(Recording& r, ValueId x, const Public& y) {
  const Shape a = r.value(x).shape;
  const Shape& p = y.shape();
  if (a.rank != 2 || p.rank != 2 || a[1] != p[0] || p.count() != y.values().size()) {
    return r.fail("shapes " + a.str() + " and " + p.str() + " (" +
                  std::to_string(y.values().size()) +
                  " values) do not fit; it takes [m,k] and [k,n]");
  }
  ProgramBuilder& b = r.builder();
  const int scale = r.factor_scale(y);
  const std::vector<std::uint64_t> words = r.words(y, p, scale);
  if (words.empty()) return kNoValue;
  const ValueId factor = r.for_factor(x, scale);
  std::vector<ValueId> columns;
  for (std::uint32_t j = 0; j < p[1]; ++j) {
    std::vector<std::uint64_t> tile;
    tile.reserve(a.count());
    for (std::uint32_t row = 0; row < a[0]; ++row) {
      for (std::uint32_t k = 0; k < p[0]; ++k) {
        tile.push_back(words[p.count() == 1 ? 0 : std::size_t{k} * p[1] + j]);
      }
    }
    const ValueId terms = b.transpose(b.multiply_public(factor, std::move(tile), scale));
    columns.push_back(b.reshape(b.sum_rows(terms), {1, a[0]}));
  }
  return r.after_factor(b.transpose(b.concat_rows(columns)), scale);
}

}  // namespace

Secret sum(const Secret& x) {
  return Recording::record("sum", {x}, [&](Recording& r) {
    return r.builder().sum_rows(count_as_rows(r, Recording::id(x)));
  });
}

Secret mean(const Secret& x) {
  const std::uint64_t count = x.shape().count();
  return sum(x) * (1.0 / static_cast<double>(std::max<std::uint64_t>(count, 1)));
}

Secret sum_rows(const Secret& x) {
  return Recording::record("sum_rows", {x},
                           [&](Recording& r) { return r.builder().sum_rows(Recording::id(x)); });
}

Secret dot(const Secret& x, const Secret& y) {
  return Recording::record("dot", {x, y}, [&](Recording& r) -> ValueId {
    const Shape a = r.value(Recording::id(x)).shape;
    const Shape b = r.value(Recording::id(y)).shape;
    if (a.count() != b.count()) {
      return r.fail("shapes " + a.str() + " and " + b.str() + " have different counts");
    }
    const ValueId left = count_as_rows(r, r.reduced(Recording::id(x)));
    const ValueId right = count_as_rows(r, r.reduced(Recording::id(y)));
    return r.builder().reshape(r.builder().matmul(left, right, true, false), {1});
  });
}

Secret matmul(const Secret& x, const Secret& y) {
  return Recording::record("matmul", {x, y}, [&](Recording& r) {
    return matrix_product(r, Recording::id(x), Recording::id(y));
  });
}

Secret matmul(const Secret& x, const Public& y) {
  return Recording::record("matmul", {x},
                           [&](Recording& r) { return matrix_product(r, Recording::id(x), y); });
}

Secret max(const Secret& x) {
  return Recording::record("max", {x}, [&](Recording& r) { return largest(r, Recording::id(x)); });
}

Secret min(const Secret& x) {
  return Recording::record("min", {x}, [&](Recording& r) {
    return negative(r, largest(r, negative(r, Recording::id(x))));
  });
}

Secret argmax(const Secret& x) {
  return Recording::record("argmax", {x},
                           [&](Recording& r) { return index_of_largest(r, Recording::id(x)); });
}

Secret argmin(const Secret& x) {
  return Recording::record("argmin", {x}, [&](Recording& r) {
    return index_of_largest(r, negative(r, Recording::id(x)));
  });
}

Secret softmax(const Secret& x) {
  return Recording::record("softmax", {x}, [&](Recording& r) -> ValueId {
    const Shape shape = r.value(Recording::id(x)).shape;
    if (shape.rank != 2 || shape[1] < 2 || shape[1] > kSoftmaxMaxClasses) {
      return r.fail("shape " + shape.str() + "; it takes [n, classes] with 2 to 255 classes");
    }
    const int f = r.fraction_bits();
    if (f < kSoftmaxMinFractionBits || f > kSoftmaxMaxFractionBits) {
      return r.fail("fraction_bits " + std::to_string(f) + " is outside 8..20");
    }
    return softmax(r.builder(), r.reduced(Recording::id(x)), f).probabilities;
  });
}

Secret transpose(const Secret& x) {
  return Recording::record("transpose", {x},
                           [&](Recording& r) { return r.builder().transpose(Recording::id(x)); });
}

Secret reshape(const Secret& x, Shape shape) {
  return Recording::record(
      "reshape", {x}, [&](Recording& r) { return r.builder().reshape(Recording::id(x), shape); });
}

Secret rows(const Secret& x, std::uint32_t begin, std::uint32_t count, std::uint32_t step) {
  return Recording::record("rows", {x}, [&](Recording& r) {
    return r.builder().rows(Recording::id(x), begin, step, count);
  });
}

Secret concat(const std::vector<Secret>& parts) {
  if (parts.empty()) return Recording::failed("concat", "there is nothing to join");
  return Recording::record("concat", {parts.begin(), parts.end()}, [&](Recording& r) {
    int scale = 0;
    for (const Secret& part : parts) {
      scale = std::max(scale, r.value(Recording::id(part)).scale_bits);
    }
    std::vector<ValueId> ids;
    for (const Secret& part : parts) ids.push_back(r.raised(Recording::id(part), scale));
    return r.builder().concat_rows(ids);
  });
}

Secret broadcast(const Secret& x, Shape shape) {
  return Recording::record("broadcast", {x},
                           [&](Recording& r) { return r.spread(Recording::id(x), shape); });
}

}  // namespace beaverpond
