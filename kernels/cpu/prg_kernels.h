// What every instruction set provides to Prg, and the loop they share. Plain pointers only: the
// files that include this are compiled under different instruction-set flags.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace beaverpond::internal {

/// What happens to the caller's data: data = s, data += s, data -= s, data ^= s, in 64-bit words.
enum class PrgUse : int { kFill, kAdd, kSubtract, kXor };

/// AES block i of the stream encrypts LE64(low + i) || LE64(high).
struct AesStart {
  const std::uint8_t* round_keys;  ///< 11 * 16 bytes, 16-byte aligned
  std::uint64_t low;
  std::uint64_t high;
};

struct ChaChaStart {
  const std::uint32_t* key;  ///< 8 words
  std::uint32_t counter;
  std::uint64_t stream;
};

void aes_portable(const AesStart& start, PrgUse use, std::uint8_t* data, std::size_t size_bytes);
void aes_avx2(const AesStart& start, PrgUse use, std::uint8_t* data, std::size_t size_bytes);
void aes_avx512(const AesStart& start, PrgUse use, std::uint8_t* data, std::size_t size_bytes);
void chacha_portable(const ChaChaStart& start, PrgUse use, std::uint8_t* data,
                     std::size_t size_bytes);
void chacha_avx2(const ChaChaStart& start, PrgUse use, std::uint8_t* data, std::size_t size_bytes);
void chacha_avx512(const ChaChaStart& start, PrgUse use, std::uint8_t* data,
                   std::size_t size_bytes);

namespace {

/// data[i] = operation(data[i], stream[i]) for every whole word.
template <class Operation>
inline void combine_words(std::uint8_t* data, const std::uint8_t* stream, std::size_t size_bytes,
                          Operation operation) {
  for (std::size_t at = 0; at + 8 <= size_bytes; at += 8) {
    std::uint64_t word, mask;
    std::memcpy(&word, data + at, 8);
    std::memcpy(&mask, stream + at, 8);
    word = operation(word, mask);
    std::memcpy(data + at, &word, 8);
  }
}

inline void combine(PrgUse use, std::uint8_t* data, const std::uint8_t* stream,
                    std::size_t size_bytes) {
  using Word = std::uint64_t;
  switch (use) {
    case PrgUse::kFill: std::memcpy(data, stream, size_bytes); break;
    case PrgUse::kAdd:
      combine_words(data, stream, size_bytes, [](Word a, Word b) { return a + b; });
      break;
    case PrgUse::kSubtract:
      combine_words(data, stream, size_bytes, [](Word a, Word b) { return a - b; });
      break;
    case PrgUse::kXor:
      combine_words(data, stream, size_bytes, [](Word a, Word b) { return a ^ b; });
      break;
  }
}

/// Runs a generator over the data. `generator.next(out)` writes its next kBatchSize bytes to any
/// address. Whole batches of a fill go straight to the caller; all else through one batch on the
/// stack, which stays in L1 and is wiped.
template <class Generator>
inline void run_generator(Generator generator, PrgUse use, std::uint8_t* data,
                          std::size_t size_bytes) {
  constexpr std::size_t kBatch = Generator::kBatchSize;
  if (use == PrgUse::kFill) {
    for (; size_bytes >= kBatch; size_bytes -= kBatch, data += kBatch) generator.next(data);
  }
  if (size_bytes == 0) return;
  alignas(64) std::uint8_t batch[kBatch];
  for (; size_bytes >= kBatch; size_bytes -= kBatch, data += kBatch) {
    generator.next(batch);
    combine(use, data, batch, kBatch);
  }
  if (size_bytes > 0) {
    generator.next(batch);
    combine(use, data, batch, size_bytes);
  }
  explicit_bzero(batch, kBatch);
}

}  // namespace

}  // namespace beaverpond::internal
