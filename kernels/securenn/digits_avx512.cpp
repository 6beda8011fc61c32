// An element's 64 digits are one register: lane i is bit i.
#include <immintrin.h>

#include <algorithm>
#include <array>

#include "kernels/securenn/digits.h"
#include "kernels/securenn/draw.h"

namespace beaverpond::securenn {
namespace {

using Vector = __m512i;
struct Avx512;
using Reader = PieceReader<Avx512>;

constexpr std::size_t kBlockDigits = kBlockElements * kDigits;
using BlockDigits = Drawn<Avx512, kBlockDigits + 64>;  // stores are of whole registers
constexpr unsigned kPrime = Product::kPrime;
constexpr __mmask64 kPackedLanes = (__mmask64{1} << kPackedBytes) - 1;

constexpr std::array<std::uint8_t, 64> identity_lanes() {
  std::array<std::uint8_t, 64> lanes{};
  for (unsigned i = 0; i < 64; ++i) lanes[i] = static_cast<std::uint8_t>(i);
  return lanes;
}
/// Byte k of group g of 8 lanes is byte 7g + k; and back.
constexpr std::array<std::uint8_t, 64> spread_lanes() {
  std::array<std::uint8_t, 64> lanes{};
  for (unsigned i = 0; i < 64; ++i) lanes[i] = static_cast<std::uint8_t>(i / 8 * 7 + i % 8);
  return lanes;
}
constexpr std::array<std::uint8_t, 64> gather_lanes() {
  std::array<std::uint8_t, 64> lanes{};
  for (unsigned i = 0; i < 56; ++i) lanes[i] = static_cast<std::uint8_t>(i / 7 * 8 + i % 7);
  return lanes;
}
/// Powers of the generator, by exponent 0 .. 65, and exponents of 1 .. 66.
constexpr std::array<std::uint8_t, 128> powers() {
  std::array<std::uint8_t, 128> table{};
  unsigned power = 1;
  for (unsigned i = 0; i < kFactors; ++i) {
    table[i] = static_cast<std::uint8_t>(power);
    power = power * kGenerator % kPrime;
  }
  return table;
}
constexpr std::array<std::uint8_t, 128> logarithms() {
  std::array<std::uint8_t, 128> table{};
  for (unsigned i = 0; i < kFactors; ++i) table[powers()[i]] = static_cast<std::uint8_t>(i);
  return table;
}

alignas(64) constexpr std::array<std::uint8_t, 64> kIdentity = identity_lanes();
alignas(64) constexpr std::array<std::uint8_t, 64> kSpread = spread_lanes();
alignas(64) constexpr std::array<std::uint8_t, 64> kGather = gather_lanes();
alignas(64) constexpr std::array<std::uint8_t, 128> kPowers = powers();
alignas(64) constexpr std::array<std::uint8_t, 128> kLogarithms = logarithms();

inline Vector load(const void* from) {
  return _mm512_loadu_si512(from);
}
inline Vector all(unsigned value) {
  return _mm512_set1_epi8(static_cast<char>(value));
}

/// x mod n for x < 2n.
inline Vector reduce(Vector x, Vector n) {
  return _mm512_min_epu8(x, _mm512_sub_epi8(x, n));
}
inline Vector add(Vector x, Vector y) {
  return reduce(_mm512_add_epi8(x, y), all(kPrime));
}
inline Vector negate(Vector x) {
  return reduce(_mm512_sub_epi8(all(kPrime), x), all(kPrime));
}
inline Vector lookup(const std::array<std::uint8_t, 128>& table, Vector index) {
  return _mm512_permutex2var_epi8(load(table.data()), index, load(table.data() + 64));
}

inline Vector unpack(const std::uint8_t* packed) {
  const Vector bytes = _mm512_maskz_loadu_epi8(kPackedLanes, packed);
  const Vector groups = _mm512_permutexvar_epi8(load(kSpread.data()), bytes);
  const Vector shifts = _mm512_set1_epi64(0x312a231c150e0700);  // 7i in byte i
  return _mm512_and_si512(_mm512_multishift_epi64_epi8(shifts, groups), all(0x7f));
}

inline void pack(Vector digits, std::uint8_t* packed) {
  // 7-bit fields to 14, 28, 56 bits.
  const Vector odd = _mm512_and_si512(_mm512_srli_epi16(digits, 1), _mm512_set1_epi16(0x3f80));
  const Vector pairs = _mm512_or_si512(_mm512_and_si512(digits, _mm512_set1_epi16(0x7f)), odd);
  const Vector fours = _mm512_madd_epi16(pairs, _mm512_set1_epi32(0x40000001));
  const Vector high = _mm512_slli_epi64(_mm512_srli_epi64(fours, 32), 28);
  const Vector low = _mm512_and_si512(fours, _mm512_set1_epi64(0xffffffff));
  const Vector eights = _mm512_or_si512(low, high);
  _mm512_mask_storeu_epi8(packed, kPackedLanes,
                          _mm512_permutexvar_epi8(load(kGather.data()), eights));
}

/// `count` uniform numbers below `below`; out has room for 64 more.
inline void draw_below(Reader& reader, unsigned below, std::size_t count, std::uint8_t* out) {
  const Vector n = all(below);
  const Vector limit = all(3 * below);
  std::size_t made = 0;
  while (made < count) {
    const Vector piece = load(reader.next());
    const __mmask64 good = _mm512_cmplt_epu8_mask(piece, limit);
    const Vector reduced = reduce(reduce(piece, n), n);
    _mm512_storeu_si512(out + made, _mm512_maskz_compress_epi8(good, reduced));
    made += static_cast<std::size_t>(__builtin_popcountll(good));
  }
}

/// The sum of all lanes above, mod 67.
inline Vector sum_above(Vector w) {
  const auto shifted = [](Vector x, unsigned by) {
    const Vector lanes = _mm512_add_epi8(load(kIdentity.data()), all(by));
    return _mm512_maskz_permutexvar_epi8(~__mmask64{0} >> by, lanes, x);
  };
  Vector sum = shifted(w, 1);
  for (const unsigned by : {1u, 2u, 4u, 8u, 16u, 32u}) sum = add(sum, shifted(sum, by));
  return sum;
}

template <class Function>
inline void for_blocks(std::uint64_t count, Function function) {
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
               draw_below(reader, kPrime, count * kDigits, digits);
               for (std::uint64_t i = 0; i < count; ++i) {
                 pack(load(digits + i * kDigits), out.data() + packed_bytes(first + i));
               }
             });
}

void share_bits(ConstWords x, int bits, const Draw& draw, Bytes out) {
  BlockDigits drawn;
  std::uint8_t* const digits = drawn.bytes;
  const std::uint64_t mask = bits == 64 ? ~std::uint64_t{0} : ~std::uint64_t{0} >> 1;
  for_blocks(x.size(), [&](std::uint64_t block, std::uint64_t first, std::uint64_t count) {
    Reader reader(*draw.prg, draw.stream + block);
    draw_below(reader, kPrime, count * kDigits, digits);
    for (std::uint64_t i = 0; i < count; ++i) {
      const Vector bit = _mm512_maskz_mov_epi8(x[first + i] & mask, all(1));
      pack(add(bit, negate(load(digits + i * kDigits))), out.data() + packed_bytes(first + i));
    }
  });
}

/// Formulas::terms on all lanes at once. `top`: lanes that are compared.
template <int kPlayer>
inline Vector terms(Vector x, std::uint64_t threshold, bool beta, __mmask64 top) {
  x = _mm512_maskz_mov_epi8(top, x);
  const Vector minus = negate(x);
  const Vector one = all(1);
  Vector flipped = minus;
  if (kPlayer == 0) flipped = reduce(_mm512_add_epi8(minus, one), all(kPrime));
  const Vector above = sum_above(_mm512_mask_mov_epi8(x, threshold, flipped));
  // Neither `beta` nor the threshold may choose a branch: masks of all lanes do.
  const __mmask64 betas = std::uint64_t{0} - static_cast<std::uint64_t>(beta);
  Vector term = _mm512_mask_mov_epi8(minus, betas, x);
  if (kPlayer == 0) {
    Vector constant = _mm512_mask_add_epi8(one, threshold & ~betas, one, one);
    constant = _mm512_mask_sub_epi8(constant, threshold & betas, one, one);
    term = add(term, constant);
  }
  return add(term, above);
}

/// c times a power of the generator; zero stays zero.
inline Vector scale(Vector c, Vector exponent) {
  const __mmask64 nonzero = _mm512_test_epi8_mask(c, c);
  const Vector sum = _mm512_add_epi8(lookup(kLogarithms, c), exponent);
  return _mm512_maskz_mov_epi8(nonzero, lookup(kPowers, reduce(sum, all(kFactors))));
}

template <int kPlayer, int kBits>
void compare_player(const Comparison& args, Bytes out) {
  using F = Formulas<kBits, kPrime>;
  BlockDigits exponents, masks;
  Drawn<Avx512, kPieceBytes> places;
  for_blocks(args.bound.size(), [&](std::uint64_t block, std::uint64_t first, std::uint64_t count) {
    Reader reader(*args.common.prg, args.common.stream + block);
    std::copy_n(reader.next(), kPieceBytes, places.bytes);
    draw_below(reader, kFactors, count * kDigits, exponents.bytes);
    draw_below(reader, kPrime, count * kDigits, masks.bytes);
    for (std::uint64_t i = 0; i < count; ++i) {
      const bool beta = ((args.beta[block] >> i) & 1) != 0;
      const typename F::Question q =
          F::question(args.bound[first + i] & F::kMask, args.at_least, beta);
      Vector c = terms<kPlayer>(unpack(args.x.data() + packed_bytes(first + i)), q.threshold, beta,
                                F::kMask);
      // Term 0 is zero and the others are one where the answer does not depend on x; what is not
      // compared is one.
      const __mmask64 always = std::uint64_t{0} - static_cast<std::uint64_t>(q.always_zero);
      const Vector mine = all(kPlayer == 0 ? 1 : 0);
      c = _mm512_mask_mov_epi8(c, always | ~F::kMask, mine);
      c = _mm512_maskz_mov_epi8(~(always & 1), c);
      const Vector scaled = scale(c, load(exponents.bytes + i * kDigits));
      const Vector mask = load(masks.bytes + i * kDigits);
      const Vector sent = add(scaled, kPlayer == 0 ? mask : negate(mask));
      const Vector lanes = _mm512_xor_si512(load(kIdentity.data()), all(places.bytes[i] & 63u));
      pack(_mm512_permutexvar_epi8(lanes, sent), out.data() + packed_bytes(first + i));
    }
  });
}

void compare(const Comparison& args, Bytes out) {
  if (args.bits == 64) {
    args.player == 0 ? compare_player<0, 64>(args, out) : compare_player<1, 64>(args, out);
  } else {
    args.player == 0 ? compare_player<0, 63>(args, out) : compare_player<1, 63>(args, out);
  }
}

void find_zero(ConstBytes of_p0, ConstBytes of_p1, Words out) {
  const std::uint64_t count = of_p0.size() / kPackedBytes;
  std::fill(out.begin(), out.end(), 0);
  for (std::uint64_t i = 0; i < count; ++i) {
    const Vector sum =
        add(unpack(of_p0.data() + packed_bytes(i)), unpack(of_p1.data() + packed_bytes(i)));
    const std::uint64_t zeros = _mm512_testn_epi8_mask(sum, sum);
    out[i / 64] |= static_cast<std::uint64_t>(zeros != 0) << (i % 64);
  }
}

}  // namespace

const DigitKernels kDigitsAvx512{"avx512", draw, share_bits, compare, find_zero};

}  // namespace beaverpond::securenn
