// Machine code for vector_code.py: each leak_* makes an address or a branch of what it loaded into
// a vector register, clean_* do not.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

extern "C" {

void leak_branch_on_a_mask(const std::uint64_t* share, std::uint64_t* out) {
  const __mmask8 odd = _mm512_test_epi64_mask(_mm512_loadu_si512(share), _mm512_set1_epi64(1));
  if (odd != 0) *out = 1;
}

void leak_loop_until_zero(const std::uint64_t* share, std::uint64_t* out) {
  __m512i words = _mm512_loadu_si512(share);
  std::uint64_t rounds = 0;
  while (_mm512_test_epi64_mask(words, words) != 0) {
    words = _mm512_srli_epi64(words, 1);
    ++rounds;
  }
  *out = rounds;
}

void leak_address_of_a_lane(const std::uint64_t* share, const std::uint64_t* table,
                            std::uint64_t* out) {
  const __m512i sum = _mm512_add_epi64(_mm512_loadu_si512(share), _mm512_loadu_si512(share + 8));
  const __m128i low = _mm512_castsi512_si128(_mm512_and_si512(sum, _mm512_set1_epi64(255)));
  *out = table[static_cast<std::size_t>(_mm_cvtsi128_si64(low))];
}

void leak_gather(const std::uint64_t* share, const long long* table, std::uint64_t* out) {
  const __m512i places = _mm512_and_si512(_mm512_loadu_si512(share), _mm512_set1_epi64(255));
  _mm512_storeu_si512(out, _mm512_i64gather_epi64(places, table, 8));
}

void leak_compressed_length(const std::uint64_t* share, std::uint64_t* out) {
  const __m512i words = _mm512_loadu_si512(share);
  const __mmask8 kept = _mm512_cmplt_epu64_mask(words, _mm512_set1_epi64(1000));
  _mm512_storeu_si512(out, words);
  out += __builtin_popcount(kept);
  _mm512_storeu_si512(out, words);
}

void clean_select(const std::uint64_t* share, std::size_t count, std::uint64_t* out) {
  for (std::size_t i = 0; i + 8 <= count; i += 8) {
    const __m512i words = _mm512_loadu_si512(share + i);
    const __mmask8 odd = _mm512_test_epi64_mask(words, _mm512_set1_epi64(1));
    _mm512_storeu_si512(out + i, _mm512_mask_sub_epi64(words, odd, _mm512_setzero_si512(), words));
  }
}

void clean_sum_of_lanes(const std::uint64_t* share, std::size_t count, std::uint64_t* out) {
  __m512i sum = _mm512_setzero_si512();
  for (std::size_t i = 0; i + 8 <= count; i += 8) {
    sum = _mm512_add_epi64(sum, _mm512_loadu_si512(share + i));
  }
  *out = static_cast<std::uint64_t>(_mm512_reduce_add_epi64(sum));
}

}  // extern "C"
