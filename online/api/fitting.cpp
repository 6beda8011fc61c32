// The part of Recording that brings operands to one scale and one shape.
#include <algorithm>
#include <cmath>

#include "online/api/recording.h"

namespace beaverpond {
namespace {

constexpr double kDomainLimit = 4611686018427387904.0;  // 2^62
constexpr double kLargestWhole = 1 << 20;
// A small factor gets this many bits more at most.
constexpr int kMostExtraBits = 20;

bool spreads(const Shape& from, const Shape& to) {
  return from.count() == 1 || (from.rank == 1 && from[0] == to[to.rank - 1]);
}

std::string do_not_fit(const Shape& x, const Shape& y) {
  return "shapes " + x.str() + " and " + y.str() + " do not fit";
}

}  // namespace

ValueId Recording::reduced(ValueId x) {
  if (x == kNoValue) return x;
  const int extra = value(x).scale_bits - fraction_bits();
  if (extra == 0) return x;
  if (extra < 0) return builder_.shift_left(x, static_cast<std::uint32_t>(-extra));
  const auto found = reduced_.find(x);
  if (found != reduced_.end()) return found->second;
  const ValueId made = builder_.truncate(x, static_cast<std::uint32_t>(extra), true);
  reduced_[x] = made;
  return made;
}

ValueId Recording::raised(ValueId x, int scale_bits) {
  if (x == kNoValue || value(x).scale_bits == scale_bits) return x;
  return builder_.shift_left(x, static_cast<std::uint32_t>(scale_bits - value(x).scale_bits));
}

std::pair<ValueId, ValueId> Recording::fitted(ValueId x, ValueId y) {
  if (x == kNoValue || y == kNoValue) return {kNoValue, kNoValue};
  const int scale = std::max(value(x).scale_bits, value(y).scale_bits);
  const Shape a = value(x).shape;
  const Shape b = value(y).shape;
  x = raised(x, scale);
  y = raised(y, scale);
  if (a == b) return {x, y};
  if (spreads(b, a)) return {x, spread(y, a)};
  if (spreads(a, b)) return {spread(x, b), y};
  fail(do_not_fit(a, b));
  return {kNoValue, kNoValue};
}

ValueId Recording::spread(ValueId x, Shape shape) {
  if (x == kNoValue || value(x).shape == shape) return x;
  const Shape from = value(x).shape;
  if (shape.rank == 0 || !spreads(from, shape)) return fail(do_not_fit(from, shape));
  const auto width = static_cast<std::uint32_t>(from.count());
  const std::uint64_t times = shape.count() / width;
  if (times == 0 || times > UINT32_MAX) return fail("shape " + shape.str() + " is too large");
  ValueId out = builder_.reshape(x, {1, width});
  const auto wanted = static_cast<std::uint32_t>(times);
  for (std::uint32_t have = 1; have < wanted;) {
    const std::uint32_t more = std::min(have, wanted - have);
    out = builder_.concat_rows({out, more == have ? out : builder_.rows(out, 0, 1, more)});
    have += more;
  }
  return builder_.reshape(out, shape);
}

bool Recording::is_plain_bit(const SecretBit& bit) const {
  return value(bit.id_).kind == ValueKind::kBit;
}

ValueId Recording::bit_word(const SecretBit& bit) {
  const ValueId word = is_plain_bit(bit) ? builder_.bit_to_word(bit.id_) : bit.id_;
  if (!bit.negated_) return word;
  return builder_.add_public(builder_.multiply_public(word, {~std::uint64_t{0}}, 0), {1});
}

SecretBit Recording::negated(const SecretBit& x) {
  return SecretBit(x.recording_, x.id_, !x.negated_);
}

ValueId Recording::spread_to(ValueId x, const Public& y) {
  if (x == kNoValue) return x;
  if (y.shape().rank == 0 || y.shape().count() == 0 || y.shape().count() != y.values().size()) {
    return fail("a public tensor of shape " + y.shape().str() + " was given " +
                std::to_string(y.values().size()) + " values");
  }
  const Shape shape = value(x).shape;
  if (spreads(y.shape(), shape) || y.shape() == shape) return x;
  if (spreads(shape, y.shape())) return spread(x, y.shape());
  return fail(do_not_fit(shape, y.shape()));
}

std::vector<std::uint64_t> Recording::words(const Public& y, Shape shape, int scale_bits) {
  std::vector<std::uint64_t> out;
  for (const double number : y.values()) {
    const double scaled = std::ldexp(number, scale_bits);
    if (!(std::abs(scaled) < kDomainLimit)) {
      fail("the public value " + std::to_string(number) + " is no number or too large");
      return {};
    }
    out.push_back(static_cast<std::uint64_t>(std::llround(scaled)));
  }
  if (out.size() == 1 || y.shape() == shape) return out;
  const std::size_t row = out.size();
  out.reserve(shape.count());
  while (out.size() < shape.count()) out.push_back(out[out.size() - row]);
  return out;
}

int Recording::factor_scale(const Public& y) const {
  double largest = 0;
  bool whole = true;
  for (const double number : y.values()) {
    largest = std::max(largest, std::abs(number));
    whole = whole && number == std::floor(number);
  }
  if (whole && largest <= kLargestWhole) return 0;
  if (!(largest > 0)) return fraction_bits();  // no number at all: words() says so
  const int most = std::min(kMostExtraBits, 62 - 2 * fraction_bits());
  const int extra = largest < 0.5 ? std::min(most, -std::ilogb(largest) - 1) : 0;
  return fraction_bits() + extra;
}

ValueId Recording::for_factor(ValueId x, int factor_scale) {
  return factor_scale == 0 ? x : reduced(x);
}

ValueId Recording::after_factor(ValueId x, int factor_scale) {
  return factor_scale > fraction_bits() ? reduced(x) : x;
}

}  // namespace beaverpond
