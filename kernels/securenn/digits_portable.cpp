#include <algorithm>

#include "kernels/securenn/digits.h"
#include "kernels/securenn/draw.h"

namespace beaverpond::securenn {
namespace {

struct Portable;
using Reader = PieceReader<Portable>;

constexpr std::size_t kBlockDigits = kBlockElements * kDigits;
using BlockDigits = Drawn<Portable, kBlockDigits>;

void unpack(const std::uint8_t* packed, std::uint8_t* digits) {
  for (int group = 0; group < kDigits / 8; ++group) {
    std::uint64_t word = 0;
    std::memcpy(&word, packed + group * 7, 7);
    for (int i = 0; i < 8; ++i) digits[8 * group + i] = (word >> (7 * i)) & 0x7f;
  }
}

void pack(const std::uint8_t* digits, std::uint8_t* packed) {
  for (int group = 0; group < kDigits / 8; ++group) {
    std::uint64_t word = 0;
    for (int i = 0; i < 8; ++i) word |= std::uint64_t{digits[8 * group + i]} << (7 * i);
    std::memcpy(packed + group * 7, &word, 7);
  }
}

/// `count` uniform numbers below `below`.
void draw_below(Reader& reader, unsigned below, std::size_t count, std::uint8_t* out) {
  std::size_t made = 0;
  while (made < count) {
    const std::uint8_t* piece = reader.next();
    for (std::size_t i = 0; i < kPieceBytes && made < count; ++i) {
      bool rejected = piece[i] >= 3 * below;
      BEAVERPOND_PUBLIC_REJECTION(rejected);
      if (!rejected) out[made++] = static_cast<std::uint8_t>(piece[i] % below);
    }
  }
}

/// Digit i goes to place i ^ flips, in one pass a bit: no address depends on flips, which P2 must
/// not know.
void permute(unsigned flips, std::uint8_t* digits) {
  Drawn<Portable, kDigits> before;
  for (unsigned step = 1; step < kDigits; step <<= 1) {
    unsigned moved = 0u - static_cast<unsigned>((flips & step) != 0);
    BP_MATH_OPAQUE(moved);
    std::memcpy(before.bytes, digits, kDigits);
    for (unsigned i = 0; i < kDigits; ++i) {
      digits[i] = static_cast<std::uint8_t>((before.bytes[Product::place(i, step)] & moved) |
                                            (before.bytes[i] & ~moved));
    }
  }
}

template <class Function>
void for_blocks(std::uint64_t count, Function function) {
  for (std::uint64_t first = 0, block = 0; first < count; first += kBlockElements, ++block) {
    function(block, first, std::min(kBlockElements, count - first));
  }
}

void draw(const Draw& draw, Bytes out) {
  BlockDigits drawn;
  std::uint8_t* const digits = drawn.bytes;
  for_blocks(out.size() / kPackedBytes,
             [&](std::uint64_t block, std::uint64_t first, std::uint64_t count) {
               Reader reader(*draw.prg, draw.stream + block);
               draw_below(reader, Product::kPrime, count * kDigits, digits);
               for (std::uint64_t i = 0; i < count; ++i) {
                 pack(digits + i * kDigits, out.data() + packed_bytes(first + i));
               }
             });
}

void share_bits(ConstWords x, int bits, const Draw& draw, Bytes out) {
  BlockDigits drawn;
  std::uint8_t* const digits = drawn.bytes;
  const std::uint64_t mask = bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
  for_blocks(x.size(), [&](std::uint64_t block, std::uint64_t first, std::uint64_t count) {
    Reader reader(*draw.prg, draw.stream + block);
    draw_below(reader, Product::kPrime, count * kDigits, digits);
    for (std::uint64_t i = 0; i < count; ++i) {
      for (int j = 0; j < kDigits; ++j) {
        std::uint8_t& digit = digits[i * kDigits + static_cast<std::uint64_t>(j)];
        const unsigned bit = ((x[first + i] & mask) >> j) & 1;
        digit = static_cast<std::uint8_t>(Product::digit_subtract(bit, digit));
      }
      pack(digits + i * kDigits, out.data() + packed_bytes(first + i));
    }
  });
}

/// The terms of the lower 63 bits; the 64th place holds what is never zero.
void terms_of_63(int player, const std::uint8_t* x, const Product::Question& question,
                 std::uint8_t* c) {
  Formulas<63, Product::kPrime>::terms(
      player, x, {question.threshold, question.beta, question.always_zero}, c);
  c[63] = player == 0 ? 1 : 0;
}

void compare(const Comparison& args, Bytes out) {
  BlockDigits exponents, masks;
  Drawn<Portable, kPieceBytes> places;
  Drawn<Portable, kDigits> shares, terms, blinded;
  std::uint8_t* const x = shares.bytes;
  std::uint8_t* const c = terms.bytes;
  std::uint8_t* const sent = blinded.bytes;
  const std::uint64_t bits = args.bits == 64 ? ~std::uint64_t{0} : ~std::uint64_t{0} >> 1;
  for_blocks(args.bound.size(), [&](std::uint64_t block, std::uint64_t first, std::uint64_t count) {
    Reader reader(*args.common.prg, args.common.stream + block);
    std::copy_n(reader.next(), kPieceBytes, places.bytes);
    draw_below(reader, kFactors, count * kDigits, exponents.bytes);
    draw_below(reader, Product::kPrime, count * kDigits, masks.bytes);
    for (std::uint64_t i = 0; i < count; ++i) {
      unpack(args.x.data() + packed_bytes(first + i), x);
      const bool beta = ((args.beta[block] >> i) & 1) != 0;
      const std::uint64_t bound = args.bound[first + i] & bits;
      if (args.bits == 64) {
        Product::terms(args.player, x, Product::question(bound, args.at_least, beta), c);
      } else {
        using Short = Formulas<63, Product::kPrime>;
        const Short::Question q = Short::question(bound, args.at_least, beta);
        terms_of_63(args.player, x, {q.threshold, q.beta, q.always_zero}, c);
      }
      for (unsigned j = 0; j < kDigits; ++j) {
        const std::size_t at = i * kDigits + j;
        sent[j] =
            Product::blind(args.player, c[j], factor_of(exponents.bytes[at]), masks.bytes[at]);
      }
      permute(places.bytes[i] & 63u, sent);
      pack(sent, out.data() + packed_bytes(first + i));
    }
  });
}

void find_zero(ConstBytes of_p0, ConstBytes of_p1, Words out) {
  const std::uint64_t count = of_p0.size() / kPackedBytes;
  std::fill(out.begin(), out.end(), 0);
  Drawn<Portable, kDigits> of0, of1;
  std::uint8_t* const left = of0.bytes;
  std::uint8_t* const right = of1.bytes;
  for (std::uint64_t i = 0; i < count; ++i) {
    unpack(of_p0.data() + packed_bytes(i), left);
    unpack(of_p1.data() + packed_bytes(i), right);
    std::uint64_t found = 0;
    for (int j = 0; j < kDigits; ++j) {
      found |= (unsigned{left[j]} + right[j]) % Product::kPrime == 0 ? 1 : 0;
    }
    out[i / 64] |= found << (i % 64);
  }
}

}  // namespace

const DigitKernels kDigitsPortable{"portable", draw, share_bits, compare, find_zero};

}  // namespace beaverpond::securenn
