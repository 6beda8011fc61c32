// Operations on secrets, element by element.
#include <functional>

#include "online/api/recording.h"

namespace beaverpond {
namespace {

constexpr std::uint64_t kMinusOne = ~std::uint64_t{0};

ValueId negative(Recording& r, ValueId x) {
  return r.builder().multiply_public(x, {kMinusOne}, 0);
}

/// x - y at one scale and shape.
ValueId difference(Recording& r, ValueId x, ValueId y) {
  const auto [a, b] = r.fitted(x, y);
  return r.builder().subtract(a, b);
}

/// x + y, or x - y.
ValueId plus_public(Recording& r, ValueId x, const Public& y, bool subtract = false) {
  const ValueId wide = r.spread_to(x, y);
  if (wide == kNoValue) return wide;
  std::vector<std::uint64_t> words = r.words(y, r.value(wide).shape, r.value(wide).scale_bits);
  if (words.empty()) return kNoValue;
  if (subtract) {
    for (std::uint64_t& word : words) word = 0 - word;
  }
  return r.builder().add_public(wide, std::move(words));
}

/// A single number times a tensor is a product of matrices: the number is masked once.
ValueId scalar_product(Recording& r, ValueId x, ValueId scalar) {
  const Shape shape = r.value(x).shape;
  if (shape.count() > UINT32_MAX) return r.fail("a tensor of more than 2^32 elements");
  ProgramBuilder& b = r.builder();
  const auto n = static_cast<std::uint32_t>(shape.count());
  return b.reshape(b.matmul(b.reshape(x, {n, 1}), b.reshape(scalar, {1, 1})), shape);
}

ValueId product(Recording& r, ValueId x, ValueId y) {
  x = r.reduced(x);
  y = r.reduced(y);
  if (x == kNoValue || y == kNoValue) return kNoValue;
  const std::uint64_t x_count = r.value(x).shape.count();
  const std::uint64_t y_count = r.value(y).shape.count();
  if (y_count == 1 && x_count > 1) return scalar_product(r, x, y);
  if (x_count == 1 && y_count > 1) return scalar_product(r, y, x);
  const auto [a, b] = r.fitted(x, y);
  return r.builder().multiply(a, b);
}

SecretBit not_negative(const char* name, const std::vector<Recording::Operand>& operands,
                       const std::function<ValueId(Recording&)>& difference_of) {
  return Recording::record_bit(name, operands, [&](Recording& r) {
    const ValueId d = difference_of(r);
    return d == kNoValue ? d : r.builder().relu(d).bit;
  });
}

SecretBit at_least(const char* name, const Secret& x, const Secret& y) {
  return not_negative(name, {x, y}, [&](Recording& r) {
    return difference(r, Recording::id(x), Recording::id(y));
  });
}

SecretBit at_least(const char* name, const Secret& x, const Public& y) {
  return not_negative(name, {x},
                      [&](Recording& r) { return plus_public(r, Recording::id(x), y, true); });
}

SecretBit at_least(const char* name, const Public& x, const Secret& y) {
  return not_negative(
      name, {y}, [&](Recording& r) { return plus_public(r, negative(r, Recording::id(y)), x); });
}

}  // namespace

Secret operator+(const Secret& x, const Secret& y) {
  return Recording::record("operator+", {x, y}, [&](Recording& r) {
    const auto [a, b] = r.fitted(Recording::id(x), Recording::id(y));
    return r.builder().add(a, b);
  });
}

Secret operator+(const Secret& x, const Public& y) {
  return Recording::record("operator+", {x},
                           [&](Recording& r) { return plus_public(r, Recording::id(x), y); });
}

Secret operator+(const Public& x, const Secret& y) {
  return y + x;
}

Secret operator-(const Secret& x, const Secret& y) {
  return Recording::record("operator-", {x, y}, [&](Recording& r) {
    return difference(r, Recording::id(x), Recording::id(y));
  });
}

Secret operator-(const Secret& x, const Public& y) {
  return Recording::record("operator-", {x},
                           [&](Recording& r) { return plus_public(r, Recording::id(x), y, true); });
}

Secret operator-(const Public& x, const Secret& y) {
  return Recording::record("operator-", {y}, [&](Recording& r) {
    return plus_public(r, negative(r, Recording::id(y)), x);
  });
}

Secret operator-(const Secret& x) {
  return Recording::record("operator-", {x},
                           [&](Recording& r) { return negative(r, Recording::id(x)); });
}

Secret operator*(const Secret& x, const Secret& y) {
  return Recording::record("operator*", {x, y}, [&](Recording& r) {
    return product(r, Recording::id(x), Recording::id(y));
  });
}

Secret operator*(const Secret& x, const Public& y) {
  return Recording::record("operator*", {x}, [&](Recording& r) -> ValueId {
    const ValueId wide = r.spread_to(Recording::id(x), y);
    if (wide == kNoValue) return wide;
    const int scale = r.factor_scale(y);
    std::vector<std::uint64_t> words = r.words(y, r.value(wide).shape, scale);
    if (words.empty()) return kNoValue;
    const ValueId factor = r.for_factor(wide, scale);
    return r.after_factor(r.builder().multiply_public(factor, std::move(words), scale), scale);
  });
}

Secret operator*(const Public& x, const Secret& y) {
  return y * x;
}

Secret square(const Secret& x) {
  return Recording::record("square", {x}, [&](Recording& r) {
    const ValueId a = r.reduced(Recording::id(x));
    return r.builder().multiply(a, a);
  });
}

Secret relu(const Secret& x) {
  return Recording::record("relu", {x}, [&](Recording& r) {
    const ValueId a = Recording::id(x);
    const int extra = r.value(a).scale_bits - r.fraction_bits();
    if (extra <= 0) return r.builder().relu(a).value;
    return r.builder().relu_truncate(a, static_cast<std::uint32_t>(extra), true).value;
  });
}

Secret max(const Secret& x, const Secret& y) {
  return Recording::record("max", {x, y}, [&](Recording& r) {
    const auto [a, b] = r.fitted(Recording::id(x), Recording::id(y));
    return r.builder().add(b, r.builder().relu(r.builder().subtract(a, b)).value);
  });
}

Secret max(const Secret& x, const Public& y) {
  return Recording::record("max", {x}, [&](Recording& r) {
    const ValueId d = plus_public(r, Recording::id(x), y, true);
    return plus_public(r, r.builder().relu(d).value, y);
  });
}

Secret min(const Secret& x, const Secret& y) {
  return Recording::record("min", {x, y}, [&](Recording& r) {
    const auto [a, b] = r.fitted(Recording::id(x), Recording::id(y));
    return r.builder().subtract(a, r.builder().relu(r.builder().subtract(a, b)).value);
  });
}

Secret min(const Secret& x, const Public& y) {
  return Recording::record("min", {x}, [&](Recording& r) {
    const ValueId d = plus_public(r, negative(r, Recording::id(x)), y);  // y - relu(y - x)
    return plus_public(r, negative(r, r.builder().relu(d).value), y);
  });
}

SecretBit operator>=(const Secret& x, const Secret& y) {
  return at_least("operator>=", x, y);
}
SecretBit operator>=(const Secret& x, const Public& y) {
  return at_least("operator>=", x, y);
}
SecretBit operator>=(const Public& x, const Secret& y) {
  return at_least("operator>=", x, y);
}
SecretBit operator<=(const Secret& x, const Secret& y) {
  return at_least("operator<=", y, x);
}
SecretBit operator<=(const Secret& x, const Public& y) {
  return at_least("operator<=", y, x);
}
SecretBit operator<=(const Public& x, const Secret& y) {
  return at_least("operator<=", y, x);
}
SecretBit operator>(const Secret& x, const Secret& y) {
  return !at_least("operator>", y, x);
}
SecretBit operator>(const Secret& x, const Public& y) {
  return !at_least("operator>", y, x);
}
SecretBit operator>(const Public& x, const Secret& y) {
  return !at_least("operator>", y, x);
}
SecretBit operator<(const Secret& x, const Secret& y) {
  return !at_least("operator<", x, y);
}
SecretBit operator<(const Secret& x, const Public& y) {
  return !at_least("operator<", x, y);
}
SecretBit operator<(const Public& x, const Secret& y) {
  return !at_least("operator<", x, y);
}

SecretBit equal(const Secret& x, const Secret& y) {
  return at_least("equal", x, y) & at_least("equal", y, x);
}

SecretBit operator!(const SecretBit& x) {
  return Recording::negated(x);
}

SecretBit operator&(const SecretBit& x, const SecretBit& y) {
  return Recording::record_bit("operator&", {x, y}, [&](Recording& r) {
    const auto [a, b] = r.fitted(r.bit_word(x), r.bit_word(y));
    return r.builder().multiply(a, b);
  });
}

SecretBit operator|(const SecretBit& x, const SecretBit& y) {
  return !((!x) & (!y));
}

Secret select(const SecretBit& bit, const Secret& x, const Secret& y) {
  return Recording::record("select", {bit, x, y}, [&](Recording& r) -> ValueId {
    const auto [a, b] = r.fitted(Recording::id(x), Recording::id(y));
    if (a == kNoValue) return a;
    ProgramBuilder& builder = r.builder();
    const Shape shape = r.value(a).shape;
    if (r.is_plain_bit(bit) && r.shape(Recording::id(bit)) == shape) {
      const ValueId yes = Recording::is_negated(bit) ? b : a;
      const ValueId no = Recording::is_negated(bit) ? a : b;
      return builder.add(no, builder.multiply_bit(builder.subtract(yes, no), Recording::id(bit)));
    }
    const ValueId word = r.spread(r.bit_word(bit), shape);
    return builder.add(b, builder.multiply(builder.subtract(a, b), word));
  });
}

Secret select(const SecretBit& bit, const Secret& x, const Public& y) {
  const Secret rest = select(bit, x - y, 0 * x);
  return rest + y;
}

Secret to_number(const SecretBit& bit) {
  return Recording::record("to_number", {bit},
                           [&](Recording& r) { return r.reduced(r.bit_word(bit)); });
}

}  // namespace beaverpond
