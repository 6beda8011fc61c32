#include <immintrin.h>

#include "kernels/cpu/prg_kernels.h"
#include "kernels/math/chacha20.h"

namespace beaverpond::internal {
namespace {

using Lanes8 = std::uint32_t __attribute__((vector_size(32)));

}  // namespace
}  // namespace beaverpond::internal

namespace beaverpond::math {

/// AVX2 has no rotation: whole bytes move in one shuffle, the rest takes two shifts.
template <>
struct LaneRotate<internal::Lanes8> {
  template <int bits>
  static BP_MATH_INLINE internal::Lanes8 left(internal::Lanes8 x) {
    if constexpr (bits == 16) {
      return reinterpret_cast<internal::Lanes8>(_mm256_shuffle_epi8(
          reinterpret_cast<__m256i>(x),
          _mm256_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2, 13, 12, 15, 14, 9,
                          8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2)));
    } else if constexpr (bits == 8) {
      return reinterpret_cast<internal::Lanes8>(_mm256_shuffle_epi8(
          reinterpret_cast<__m256i>(x),
          _mm256_set_epi8(14, 13, 12, 15, 10, 9, 8, 11, 6, 5, 4, 7, 2, 1, 0, 3, 14, 13, 12, 15, 10,
                          9, 8, 11, 6, 5, 4, 7, 2, 1, 0, 3)));
    } else {
      return (x << bits) | (x >> (32 - bits));
    }
  }
};

}  // namespace beaverpond::math

namespace beaverpond::internal {
namespace {

/// Eight AES blocks in flight hide the latency of the round instruction.
struct AesAvx2 {
  static constexpr std::size_t kBatchSize = 128;

  const std::uint8_t* round_keys;
  // In a vector register: of a word the compiler may make the loop's own counter.
  __m128i counter;

  explicit AesAvx2(const AesStart& start)
      : round_keys(start.round_keys),
        counter(_mm_set_epi64x(static_cast<long long>(start.high),
                               static_cast<long long>(start.low))) {}
  void next(std::uint8_t* out) {
    const auto* keys = reinterpret_cast<const __m128i*>(round_keys);
    __m128i blocks[8];
    for (int i = 0; i < 8; ++i) {
      const __m128i step = _mm_set_epi64x(0, i);  // adds to the low word only: no carry
      blocks[i] = _mm_xor_si128(_mm_add_epi64(counter, step), _mm_load_si128(keys));
    }
    counter = _mm_add_epi64(counter, _mm_set_epi64x(0, 8));
    for (int round = 1; round < 10; ++round) {
      const __m128i key = _mm_load_si128(keys + round);
      for (__m128i& block : blocks) block = _mm_aesenc_si128(block, key);
    }
    const __m128i last = _mm_load_si128(keys + 10);
    for (int i = 0; i < 8; ++i) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out) + i, _mm_aesenclast_si128(blocks[i], last));
    }
  }
};

/// From 8 vectors (word i of 8 blocks) to 8 rows (words 0..7 of one block), `stride` bytes apart.
inline void store_transposed(const Lanes8* words, std::uint8_t* out, std::size_t stride) {
  __m256i pairs[8], quads[8];
  for (int i = 0; i < 8; i += 2) {
    const auto even = reinterpret_cast<__m256i>(words[i]);
    const auto odd = reinterpret_cast<__m256i>(words[i + 1]);
    pairs[i] = _mm256_unpacklo_epi32(even, odd);
    pairs[i + 1] = _mm256_unpackhi_epi32(even, odd);
  }
  for (int i = 0; i < 8; i += 4) {
    quads[i] = _mm256_unpacklo_epi64(pairs[i], pairs[i + 2]);
    quads[i + 1] = _mm256_unpackhi_epi64(pairs[i], pairs[i + 2]);
    quads[i + 2] = _mm256_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    quads[i + 3] = _mm256_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    const __m256i low = _mm256_permute2x128_si256(quads[i], quads[i + 4], 0x20);
    const __m256i high = _mm256_permute2x128_si256(quads[i], quads[i + 4], 0x31);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + stride * i), low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + stride * (i + 4)), high);
  }
}

struct ChaChaAvx2 {
  static constexpr std::size_t kBatchSize = 512;

  Lanes8 input[16];

  explicit ChaChaAvx2(const ChaChaStart& start) {
    math::chacha20_input(start.key, start.counter, start.stream, input);
    input[12] += Lanes8{0, 1, 2, 3, 4, 5, 6, 7};
  }
  void next(std::uint8_t* out) {
    Lanes8 blocks[16];
    math::chacha20_block(input, blocks);
    input[12] += 8;
    store_transposed(blocks, out, 64);
    store_transposed(blocks + 8, out + 32, 64);
  }
};

}  // namespace

void aes_avx2(const AesStart& start, PrgUse use, std::uint8_t* data, std::size_t size_bytes) {
  run_generator(AesAvx2(start), use, data, size_bytes);
}

void chacha_avx2(const ChaChaStart& start, PrgUse use, std::uint8_t* data, std::size_t size_bytes) {
  run_generator(ChaChaAvx2(start), use, data, size_bytes);
}

}  // namespace beaverpond::internal
