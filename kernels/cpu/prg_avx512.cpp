#include <immintrin.h>

#include "kernels/cpu/prg_kernels.h"
#include "kernels/math/chacha20.h"

namespace beaverpond::internal {
namespace {

using Lanes16 = std::uint32_t __attribute__((vector_size(64)));

/// Eight vectors of four AES blocks in flight.
struct AesAvx512 {
  static constexpr std::size_t kBatchSize = 512;

  const std::uint8_t* round_keys;
  __m512i counters;

  explicit AesAvx512(const AesStart& start) : round_keys(start.round_keys) {
    const auto low = static_cast<long long>(start.low);
    const auto high = static_cast<long long>(start.high);
    // Additions of 64-bit lanes: the low word wraps and never carries into the high one.
    counters = _mm512_add_epi64(_mm512_set_epi64(high, low, high, low, high, low, high, low),
                                _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0));
  }

  __m512i key(int round) const {
    return _mm512_broadcast_i32x4(
        _mm_load_si128(reinterpret_cast<const __m128i*>(round_keys) + round));
  }

  void next(std::uint8_t* out) {
    const __m512i step = _mm512_set_epi64(0, 4, 0, 4, 0, 4, 0, 4);
    const __m512i first = key(0);
    __m512i blocks[8];
    for (__m512i& block : blocks) {
      block = _mm512_xor_si512(counters, first);
      counters = _mm512_add_epi64(counters, step);
    }
    for (int round = 1; round < 10; ++round) {
      const __m512i round_key = key(round);
      for (__m512i& block : blocks) block = _mm512_aesenc_epi128(block, round_key);
    }
    const __m512i last = key(10);
    for (std::size_t i = 0; i < 8; ++i) {
      _mm512_storeu_si512(out + 64 * i, _mm512_aesenclast_epi128(blocks[i], last));
    }
  }
};

/// From 16 vectors (word i of 16 blocks) to 16 blocks in order.
inline void store_transposed(const Lanes16* words, std::uint8_t* out) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    const auto even = reinterpret_cast<__m512i>(words[i]);
    const auto odd = reinterpret_cast<__m512i>(words[i + 1]);
    a[i] = _mm512_unpacklo_epi32(even, odd);
    a[i + 1] = _mm512_unpackhi_epi32(even, odd);
  }
  for (int i = 0; i < 16; i += 4) {  // b[i + j]: words i..i+3 of blocks j, j+4, j+8, j+12
    b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
  for (std::size_t j = 0; j < 4; ++j) {  // a 4 x 4 transposition of 128-bit quarters
    const __m512i low01 = _mm512_shuffle_i32x4(b[j], b[4 + j], 0x44);
    const __m512i high01 = _mm512_shuffle_i32x4(b[j], b[4 + j], 0xee);
    const __m512i low23 = _mm512_shuffle_i32x4(b[8 + j], b[12 + j], 0x44);
    const __m512i high23 = _mm512_shuffle_i32x4(b[8 + j], b[12 + j], 0xee);
    _mm512_storeu_si512(out + 64 * j, _mm512_shuffle_i32x4(low01, low23, 0x88));
    _mm512_storeu_si512(out + 64 * (j + 4), _mm512_shuffle_i32x4(low01, low23, 0xdd));
    _mm512_storeu_si512(out + 64 * (j + 8), _mm512_shuffle_i32x4(high01, high23, 0x88));
    _mm512_storeu_si512(out + 64 * (j + 12), _mm512_shuffle_i32x4(high01, high23, 0xdd));
  }
}

struct ChaChaAvx512 {
  static constexpr std::size_t kBatchSize = 1024;

  Lanes16 input[16];

  explicit ChaChaAvx512(const ChaChaStart& start) {
    math::chacha20_input(start.key, start.counter, start.stream, input);
    input[12] += Lanes16{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  }
  void next(std::uint8_t* out) {
    Lanes16 blocks[16];
    math::chacha20_block(input, blocks);
    input[12] += 16;
    store_transposed(blocks, out);
  }
};

}  // namespace

void aes_avx512(const AesStart& start, PrgUse use, std::uint8_t* data, std::size_t size_bytes) {
  run_generator(AesAvx512(start), use, data, size_bytes);
}

void chacha_avx512(const ChaChaStart& start, PrgUse use, std::uint8_t* data,
                   std::size_t size_bytes) {
  run_generator(ChaChaAvx512(start), use, data, size_bytes);
}

}  // namespace beaverpond::internal
