#include "kernels/cpu/prg_kernels.h"
#include "kernels/math/aes128.h"
#include "kernels/math/chacha20.h"

namespace beaverpond::internal {
namespace {

/// Transposes a 64 x 64 matrix of bits: bit j of word i becomes bit i of word j.
void transpose_bits(std::uint64_t (&rows)[64]) {
  std::uint64_t mask = 0x00000000ffffffffu;
  for (int width = 32; width > 0; width >>= 1, mask ^= mask << width) {
    for (int i = 0; i < 64; i = ((i | width) + 1) & ~width) {
      const std::uint64_t swap = ((rows[i] >> width) ^ rows[i | width]) & mask;
      rows[i] ^= swap << width;
      rows[i | width] ^= swap;
    }
  }
}

/// 64 AES blocks at a time, on bit planes.
struct AesPortable {
  static constexpr std::size_t kBatchSize = 1024;

  AesStart start;

  void next(std::uint8_t* out) {
    math::AesPlanes<std::uint64_t> state;
    std::uint64_t words[64];
    for (unsigned i = 0; i < 64; ++i) words[i] = start.low + i;
    transpose_bits(words);
    for (int p = 0; p < 64; ++p) {
      state.byte[p / 8][p % 8] = words[p];
      state.byte[8 + p / 8][p % 8] = std::uint64_t{0} - ((start.high >> p) & 1u);
    }
    start.low += 64;
    math::aes128_encrypt(state, start.round_keys);
    for (std::size_t half = 0; half < 2; ++half) {
      for (std::size_t p = 0; p < 64; ++p) words[p] = state.byte[8 * half + p / 8][p % 8];
      transpose_bits(words);
      for (std::size_t i = 0; i < 64; ++i) std::memcpy(out + 16 * i + 8 * half, &words[i], 8);
    }
  }
};

struct ChaChaPortable {
  static constexpr std::size_t kBatchSize = 64;

  std::uint32_t input[16];

  explicit ChaChaPortable(const ChaChaStart& start) {
    math::chacha20_input(start.key, start.counter, start.stream, input);
  }
  void next(std::uint8_t* out) {
    std::uint32_t block[16];
    math::chacha20_block(input, block);
    std::memcpy(out, block, 64);
    input[12] += 1;
  }
};

}  // namespace

void aes_portable(const AesStart& start, PrgUse use, std::uint8_t* data, std::size_t size_bytes) {
  run_generator(AesPortable{start}, use, data, size_bytes);
}

void chacha_portable(const ChaChaStart& start, PrgUse use, std::uint8_t* data,
                     std::size_t size_bytes) {
  run_generator(ChaChaPortable(start), use, data, size_bytes);
}

}  // namespace beaverpond::internal
