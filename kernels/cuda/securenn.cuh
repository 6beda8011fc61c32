// SecureNN's digits mod 67 on the device, byte for byte those of kernels/securenn: a block of
// threads for 64 elements, whose randomness is one record of streams (securenn_streams.cuh), and
// two threads an element, 32 digits each. Digits are four a word in registers; permutations
// exchange registers, and factors are shifted constants, so that no address depends on either.
// Where an accepted number goes depends on which were rejected, which says nothing of the accepted
// ones.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"
#include "kernels/cuda/elements.cuh"
#include "kernels/math/securenn_steps.h"

namespace beaverpond::cuda {

inline constexpr std::uint32_t kDigitThreads = 128;
inline constexpr std::uint32_t kDigitElements = 64;
/// 32-bit words of an element's packed digits.
inline constexpr std::uint32_t kPackedWords = 14;
/// Bytes of streams that one draw looks at: of 6144 at least 4096 are accepted, but for a chance
/// below 2^-300 (of the 6080 of a comparison's factors: 2^-220).
inline constexpr std::uint32_t kDrawRecordBytes = 6144;
inline constexpr std::uint32_t kCompareRecordBytes = 2 * kDrawRecordBytes;
/// In shared memory a block's numbers lie one a byte, elements this many bytes apart: in other
/// banks.
inline constexpr std::uint32_t kElementBytes = 68;
inline constexpr std::uint32_t kNumbersBytes = kDigitElements * kElementBytes;
inline constexpr std::uint32_t kPackedBlockBytes = kDigitElements * kPackedWords * 4;
inline constexpr std::uint32_t kTotalsBytes = 32;
inline constexpr std::uint32_t kDrawSharedBytes = kNumbersBytes + kPackedBlockBytes + kTotalsBytes;
inline constexpr std::uint32_t kCompareSharedBytes = kDrawSharedBytes + kNumbersBytes;
inline constexpr std::uint32_t kFindZeroSharedBytes = 2 * kPackedBlockBytes;

/// The first `needed` bytes of record[from, to) that are below 3 `below`, mod `below`, whole block:
/// number i at numbers[i + 4 (i / 64)]. Returns where the piece of 64 bytes ends that the last one
/// lies in. `from` and `to` are multiples of 64, at most kDrawRecordBytes apart; totals:
/// kTotalsBytes.
template <std::uint32_t below>
__device__ __forceinline__ std::uint32_t take_below(const std::uint8_t* record, std::uint32_t from,
                                                    std::uint32_t to, std::uint32_t needed,
                                                    std::uint8_t* numbers, std::uint32_t* totals) {
  constexpr std::uint32_t kQuads = kDrawRecordBytes / kDigitThreads / 16;
  const std::uint32_t at = from + threadIdx.x * kQuads * 16;
  std::uint32_t words[kQuads * 4];
#pragma unroll
  for (std::uint32_t q = 0; q < kQuads; ++q) {
    uint4 quad = make_uint4(~0u, ~0u, ~0u, ~0u);  // rejected
    if (at + q * 16 < to) quad = *reinterpret_cast<const uint4*>(record + at + q * 16);
    words[4 * q] = quad.x, words[4 * q + 1] = quad.y;
    words[4 * q + 2] = quad.z, words[4 * q + 3] = quad.w;
  }
  std::uint32_t accepted = 0;
#pragma unroll
  for (std::uint32_t i = 0; i < kQuads * 16; ++i) {
    accepted += (words[i / 4] >> (8 * (i % 4)) & 255) < 3 * below ? 1 : 0;
  }
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t warp = threadIdx.x / 32;
  std::uint32_t place = accepted;
#pragma unroll
  for (unsigned distance = 1; distance < 32; distance <<= 1) {
    const std::uint32_t before = __shfl_up_sync(0xffffffffu, place, distance);
    place += lane >= distance ? before : 0;
  }
  if (lane == 31) totals[warp] = place;
  __syncthreads();
  place -= accepted;
#pragma unroll
  for (std::uint32_t w = 0; w < kDigitThreads / 32; ++w) place += w < warp ? totals[w] : 0;
#pragma unroll
  for (std::uint32_t i = 0; i < kQuads * 16; ++i) {
    const std::uint32_t byte = words[i / 4] >> (8 * (i % 4)) & 255;
    if (byte >= 3 * below) continue;
    if (place < needed) {
      std::uint32_t number = byte;  // minus twice `below`, while that is not below zero
      number = number < number - below ? number : number - below;
      number = number < number - below ? number : number - below;
      numbers[place + 4 * (place / 64)] = static_cast<std::uint8_t>(number);
    }
    ++place;
    if (place == needed) totals[4] = (at + i) / 64 * 64 + 64;
  }
  __syncthreads();
  return totals[4];
}

/// Where this thread's half lies among numbers that take_below left, four a word.
__device__ __forceinline__ std::uint32_t* half_of(std::uint8_t* numbers) {
  return reinterpret_cast<std::uint32_t*>(numbers + threadIdx.x / 2 * kElementBytes +
                                          threadIdx.x % 2 * 32);
}
/// Digits 4k .. 4k + 3 of this thread's half, one a byte, from a block's packed digits.
__device__ __forceinline__ std::uint32_t unpacked_four(const std::uint32_t* packed,
                                                       std::uint32_t k) {
  const std::uint32_t* const mine = packed + threadIdx.x * 7;
  const std::uint32_t low = 28 * k / 32;
  const std::uint32_t high = low < 6 ? low + 1 : 6;  // of the last, `low` holds all
  const std::uint64_t both = std::uint64_t{mine[high]} << 32 | mine[low];
  const auto four = static_cast<std::uint32_t>(both >> (28 * k % 32));
  return (four & 0x7fu) | (four << 1 & 0x7f00u) | (four << 2 & 0x7f0000u) |
         (four << 3 & 0x7f000000u);
}

/// Half an element's digits, four a word.
struct HalfDigits {
  std::uint32_t word[8];

  __device__ __forceinline__ void load(const std::uint32_t* half) {
#pragma unroll
    for (int k = 0; k < 8; ++k) word[k] = half[k];
  }
  /// From and to a block's packed digits in shared memory: seven words a thread.
  __device__ __forceinline__ void unpack(const std::uint32_t* packed) {
#pragma unroll
    for (std::uint32_t k = 0; k < 8; ++k) word[k] = unpacked_four(packed, k);
  }
  __device__ __forceinline__ void pack(std::uint32_t* packed) const {
    std::uint32_t four[8];
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      four[k] = (word[k] & 0x7fu) | (word[k] >> 1 & 0x3f80u) | (word[k] >> 2 & 0x1fc000u) |
                (word[k] >> 3 & 0xfe00000u);
    }
#pragma unroll
    for (int k = 0; k < 7; ++k) {
      packed[threadIdx.x * 7 + static_cast<unsigned>(k)] = four[k] >> (4 * k) | four[k + 1]
                                                                                    << (28 - 4 * k);
    }
  }
  /// Digit i of the element goes to place i ^ flips: bit after bit of it, two threads at the last.
  __device__ __forceinline__ void permute(std::uint32_t flips) {
    const std::uint32_t selector = 0x3210u ^ (flips & 3) * 0x1111u;
#pragma unroll
    for (int k = 0; k < 8; ++k) word[k] = __byte_perm(word[k], 0, selector);
#pragma unroll
    for (int level = 1; level < 8; level <<= 1) {
      const std::uint32_t all = 0u - ((flips / 4 & static_cast<unsigned>(level)) != 0 ? 1u : 0u);
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        if ((k & level) != 0) continue;
        const std::uint32_t change = (word[k] ^ word[k | level]) & all;
        word[k] ^= change;
        word[k | level] ^= change;
      }
    }
    const std::uint32_t all = 0u - (flips >> 5 & 1);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const std::uint32_t other = __shfl_xor_sync(0xffffffffu, word[k], 1);
      word[k] ^= (word[k] ^ other) & all;
    }
  }
};

/// Elements of a block, of `count` in all.
__device__ __forceinline__ std::uint32_t elements_of(std::uint64_t block, std::uint64_t count) {
  const std::uint64_t rest = count - block * kDigitElements;
  return rest < kDigitElements ? static_cast<std::uint32_t>(rest) : kDigitElements;
}
/// Copies a block's packed digits to shared memory, and back.
__device__ __forceinline__ void read_packed(const std::uint32_t* from, std::uint32_t elements,
                                            std::uint32_t* packed) {
#pragma unroll
  for (std::uint32_t k = 0; k < 7; ++k) {
    const std::uint32_t i = k * kDigitThreads + threadIdx.x;
    packed[i] = i < elements * kPackedWords ? from[i] : 0;
  }
}
__device__ __forceinline__ void write_packed(const std::uint32_t* packed, std::uint32_t elements,
                                             std::uint32_t* to) {
#pragma unroll
  for (std::uint32_t k = 0; k < 7; ++k) {
    const std::uint32_t i = k * kDigitThreads + threadIdx.x;
    if (i < elements * kPackedWords) to[i] = packed[i];
  }
}

/// Blocks from `first_block` on; `streams` holds theirs alone, all else that of block 0 on.
struct DigitsJob {
  const std::uint8_t* streams;
  std::uint64_t first_block, count;
  const std::uint64_t* x;  ///< whose bits are shared; bits outside `mask` are 0
  std::uint64_t mask;
  std::uint32_t* out;  ///< packed
};

/// out = uniform digits, or where `shares` the bits of x less these.
template <bool shares>
__global__ void __launch_bounds__(128) draw_digits(const DigitsJob job) {
  std::uint8_t* const numbers = dynamic_shared<std::uint8_t>();
  auto* const packed = reinterpret_cast<std::uint32_t*>(numbers + kNumbersBytes);
  auto* const totals = packed + kPackedBlockBytes / 4;
  const std::uint64_t block = job.first_block + blockIdx.x;
  const std::uint32_t elements = elements_of(block, job.count);
  take_below<67>(job.streams + std::uint64_t{blockIdx.x} * kDrawRecordBytes, 0, kDrawRecordBytes,
                 elements * 64, numbers, totals);
  HalfDigits digits;
  digits.load(half_of(numbers));
  if constexpr (shares) {
    const std::uint64_t element = block * kDigitElements + threadIdx.x / 2;
    const std::uint64_t word = threadIdx.x / 2 < elements ? job.x[element] & job.mask : 0;
    const auto half = static_cast<std::uint32_t>(word >> (threadIdx.x % 2 * 32));
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const std::uint32_t bits = ((half >> (4 * k) & 15) * 0x00204081u) & 0x01010101u;
      const std::uint32_t sum = bits + 0x43434343u - digits.word[k];  // by bytes: 1 .. 68
      digits.word[k] = sum - ((sum + 0x3d3d3d3du) >> 7 & 0x01010101u) * 67;
    }
  }
  digits.pack(packed);
  __syncthreads();
  write_packed(packed, elements, job.out + block * kDigitElements * kPackedWords);
}

/// One player's side of PrivateCompare (kernels/securenn_backend.h).
struct PrivateCompareJob {
  const std::uint8_t* streams;
  std::uint64_t first_block, count;
  const std::uint32_t* x;  ///< packed
  const std::uint64_t *bound, *beta;
  std::uint32_t* out;  ///< packed
  int player;
  bool at_least;
};

template <int bits>
__global__ void __launch_bounds__(128) private_compare(const PrivateCompareJob job) {
  using F = securenn::Formulas<bits, securenn::Product::kPrime>;
  std::uint8_t* const exponents = dynamic_shared<std::uint8_t>();
  std::uint8_t* const masks = exponents + kNumbersBytes;
  auto* const packed = reinterpret_cast<std::uint32_t*>(masks + kNumbersBytes);
  auto* const totals = packed + kPackedBlockBytes / 4;
  const std::uint64_t block = job.first_block + blockIdx.x;
  const std::uint64_t first = block * kDigitElements;
  const std::uint32_t elements = elements_of(block, job.count);
  const std::uint8_t* const record = job.streams + std::uint64_t{blockIdx.x} * kCompareRecordBytes;
  read_packed(job.x + first * kPackedWords, elements, packed);
  const std::uint32_t end = take_below<securenn::kFactors>(record, 64, kDrawRecordBytes,
                                                           elements * 64, exponents, totals);
  take_below<F::kPrime>(record, end, end + kDrawRecordBytes, elements * 64, masks, totals);

  const std::uint32_t element = threadIdx.x / 2;
  const std::uint32_t half = threadIdx.x % 2;
  const bool live = element < elements;
  const std::uint64_t bound = live ? job.bound[first + element] & F::kMask : 0;
  const bool beta = live && securenn::packed_bit(job.beta, first + element) != 0;
  const typename F::Question question = F::question(bound, job.at_least, beta);
  const typename F::Choices choices(question);
  const auto threshold = static_cast<std::uint32_t>(question.threshold >> (half * 32));
  // What is not compared adds nothing to those below.
  const auto four_of = [packed, half](std::uint32_t k) {
    const std::uint32_t four = unpacked_four(packed, k);
    return bits == 63 && k == 7 && half == 1 ? four & 0x00ffffffu : four;
  };

  std::uint32_t above = 0;
#pragma unroll 1
  for (std::uint32_t k = 0; k < 8; ++k) {
    const std::uint32_t four = four_of(k);
#pragma unroll
    for (std::uint32_t b = 0; b < 4; ++b) {
      above += F::weight(job.player, four >> (8 * b) & 255, threshold >> (4 * k + b) & 1);
    }
  }
  // The lower half begins with what the upper adds up to.
  above = __shfl_xor_sync(0xffffffffu, above, 1) & (half - 1);
  // What is sent takes the place of its factors: registers of all 32 digits would not do.
  std::uint32_t* const factors = half_of(exponents);
  const std::uint32_t* const blinding = half_of(masks);
#pragma unroll 1
  for (std::uint32_t k = 7; k < 8; --k) {
    const std::uint32_t digits = four_of(k);
    const std::uint32_t exponent = factors[k];
    const std::uint32_t mask = blinding[k];
    std::uint32_t four = 0;
#pragma unroll
    for (std::uint32_t b = 3; b < 4; --b) {
      const std::uint32_t number = half * 32 + 4 * k + b;
      const std::uint32_t digit = digits >> (8 * b) & 255;
      const std::uint32_t t = threshold >> (4 * k + b) & 1;
      std::uint32_t term = F::term(job.player, static_cast<int>(number), digit, t, choices, above);
      if (number >= bits) term = job.player == 0 ? 1 : 0;
      const std::uint32_t factor = securenn::factor_of(exponent >> (8 * b) & 255);
      four |= std::uint32_t{F::blind(job.player, term, factor, mask >> (8 * b) & 255)} << (8 * b);
      above += F::weight(job.player, digit, t);
    }
    factors[k] = four;
  }
  HalfDigits sent;
  sent.load(factors);
  sent.permute(live ? record[element] & 63 : 0);
  sent.pack(packed);  // where this thread alone read
  __syncthreads();
  write_packed(packed, elements, job.out + first * kPackedWords);
}

/// P2: whether the sums of an element's digits have a zero, one block's word of packed bits.
__global__ void __launch_bounds__(128)
    find_zero(const std::uint32_t* of_p0, const std::uint32_t* of_p1, const std::uint64_t count,
              std::uint16_t* out) {
  auto* const packed = dynamic_shared<std::uint32_t>();
  std::uint32_t* const other = packed + kPackedBlockBytes / 4;
  const std::uint64_t first = std::uint64_t{blockIdx.x} * kDigitElements;
  const std::uint32_t elements = elements_of(blockIdx.x, count);
  read_packed(of_p0 + first * kPackedWords, elements, packed);
  read_packed(of_p1 + first * kPackedWords, elements, other);
  __syncthreads();
  HalfDigits left, right;
  left.unpack(packed);
  right.unpack(other);
  std::uint32_t zeros = 0;
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    const std::uint32_t sum = left.word[k] + right.word[k];  // by bytes, of which 0 and 67 are zero
    const std::uint32_t rest = sum ^ 0x43434343u;
    zeros |= ((sum - 0x01010101u) & ~sum) | ((rest - 0x01010101u) & ~rest);
  }
  const bool found = threadIdx.x / 2 < elements && (zeros & 0x80808080u) != 0;
  std::uint32_t halves = __ballot_sync(0xffffffffu, found ? 1 : 0);
  halves = (halves | halves >> 1) & 0x55555555u;
  halves = (halves | halves >> 1) & 0x33333333u;
  halves = (halves | halves >> 2) & 0x0f0f0f0fu;
  halves = (halves | halves >> 4) & 0x00ff00ffu;
  halves = (halves | halves >> 8) & 0x0000ffffu;
  if (threadIdx.x % 32 == 0) {
    out[std::uint64_t{blockIdx.x} * 4 + threadIdx.x / 32] = static_cast<std::uint16_t>(halves);
  }
}

// The steps on words (kernels/math/securenn_steps.h), each a kernel of its own.
struct XorWordsElement : securenn::XorWords {};
struct ReduceOddElement : securenn::ReduceOdd {};
struct AddOddElement : securenn::AddOdd {};
struct SubtractOddElement : securenn::SubtractOdd {};
struct MaskDoubleElement : securenn::MaskDouble {};
struct ConvertSumElement : securenn::ConvertSum {};
struct FinishConvertElement : securenn::FinishConvert {};
struct MaskOddDoubleElement : securenn::MaskOddDouble {};
struct FlipBitsElement : securenn::FlipBits {};
struct NotXorElement : securenn::NotXor {};
struct FinishTripleElement : securenn::FinishTriple {};
struct DealFusedElement : securenn::DealFused {};
struct FinishFusedElement : securenn::FinishFused {};
struct SpreadBitsElement : securenn::SpreadBits {};
struct SumOddElement : securenn::SumOdd {};

}  // namespace beaverpond::cuda
