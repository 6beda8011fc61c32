#include "kernels/cpu/prg.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/math/aes128.h"
#include "kernels/math/chacha20.h"

namespace beaverpond {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes from_hex(const std::string& text) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

Seed seed_of(const Bytes& bytes) {
  return Seed(std::span<const std::uint8_t, 32>(bytes.data(), 32));
}

Seed random_seed(std::mt19937_64& random) {
  Seed seed;
  for (std::uint8_t& byte : seed.mutable_bytes()) byte = static_cast<std::uint8_t>(random());
  return seed;
}

Bytes filled(const Prg& prg, std::uint64_t stream, std::uint64_t offset, std::size_t size) {
  Bytes out(size);
  prg.fill(stream, offset, out);
  return out;
}

/// The instruction sets this machine can run; each includes the ones below it.
std::vector<PrgIsa> isas(PrgKind kind) {
  switch (best_prg_isa(kind)) {
    case PrgIsa::kAvx512: return {PrgIsa::kPortable, PrgIsa::kAvx2, PrgIsa::kAvx512};
    case PrgIsa::kAvx2: return {PrgIsa::kPortable, PrgIsa::kAvx2};
    default: return {PrgIsa::kPortable};
  }
}

constexpr PrgKind kKinds[] = {PrgKind::kAes128Ctr, PrgKind::kChaCha20};

/// AES-128 of one block, through the layout: block 0 of stream 0 encrypts seed[16..32).
Bytes aes_block(const std::string& key, const std::string& plaintext, PrgIsa isa) {
  const Prg prg(seed_of(from_hex(key + plaintext)), PrgKind::kAes128Ctr, isa);
  return filled(prg, 0, 0, 16);
}

TEST(Prg, AesKnownAnswersOfFips197) {
  for (PrgIsa isa : isas(PrgKind::kAes128Ctr)) {
    EXPECT_EQ(
        aes_block("000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff", isa),
        from_hex("69c4e0d86a7b0430d8cdb78070b4c55a"));
    EXPECT_EQ(
        aes_block("2b7e151628aed2a6abf7158809cf4f3c", "3243f6a8885a308d313198a2e0370734", isa),
        from_hex("3925841d02dc09fbdc118597196a0b32"));
  }
}

TEST(Prg, AesKnownAnswersOfSp800_38a) {
  const std::string key = "2b7e151628aed2a6abf7158809cf4f3c";
  const std::pair<std::string, std::string> ecb[] = {
      {"6bc1bee22e409f96e93d7e117393172a", "3ad77bb40d7a3660a89ecaf32466ef97"},
      {"ae2d8a571e03ac9c9eb76fac45af8e51", "f5d3d58503b9699de785895a96fdbaaf"},
      {"30c81c46a35ce411e5fbc1191a0a52ef", "43b1cd7f598ece23881b00e3ed030688"},
      {"f69f2445df4f9b17ad2b417be66c3710", "7b0c785e27e8ad3f8223207104725dd4"},
      // CTR-AES128: the counter block and the output block of its first step.
      {"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "ec8cdf7398607cb0f2d21675ea9ea1e4"}};
  for (PrgIsa isa : isas(PrgKind::kAes128Ctr)) {
    for (const auto& [plain, cipher] : ecb) EXPECT_EQ(aes_block(key, plain, isa), from_hex(cipher));
  }
}

TEST(Prg, ChaChaKnownAnswersOfRfc8439) {
  const Bytes zero_key(32, 0);
  Bytes key_of_last_byte(32, 0);
  key_of_last_byte[31] = 1;
  for (PrgIsa isa : isas(PrgKind::kChaCha20)) {
    const Prg zero(seed_of(zero_key), PrgKind::kChaCha20, isa);
    EXPECT_EQ(filled(zero, 0, 0, 64),  // A.1 test vector 1
              from_hex("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
                       "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"));
    EXPECT_EQ(filled(zero, 0, 64, 64),  // A.1 test vector 2
              from_hex("9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
                       "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"));
    EXPECT_EQ(filled(Prg(seed_of(key_of_last_byte), PrgKind::kChaCha20, isa), 0, 64, 64),  // 3
              from_hex("3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
                       "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0"));
  }
}

// Section 2.3.2: its nonce does not end in zeros, so only the formula itself can meet it.
TEST(Prg, ChaChaFormulaMatchesSection232) {
  std::uint32_t input[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, 0x03020100, 0x07060504,
                             0x0b0a0908, 0x0f0e0d0c, 0x13121110, 0x17161514, 0x1b1a1918, 0x1f1e1d1c,
                             0x00000001, 0x09000000, 0x4a000000, 0x00000000};
  std::uint32_t block[16];
  math::chacha20_block(input, block);
  Bytes bytes(64);
  std::memcpy(bytes.data(), block, 64);
  EXPECT_EQ(bytes, from_hex("10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
                            "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"));
}

TEST(Prg, ChaChaNonceIsTheStreamLittleEndian) {
  std::mt19937_64 random(1);
  const Seed seed = random_seed(random);
  std::uint32_t key[8], input[16], block[16];
  std::memcpy(key, seed.bytes().data(), 32);
  math::chacha20_input(key, 5, 0x1122334455667788u, input);
  EXPECT_EQ(input[13], 0x55667788u);
  EXPECT_EQ(input[14], 0x11223344u);
  EXPECT_EQ(input[15], 0u);
  math::chacha20_block(input, block);
  Bytes bytes(64);
  std::memcpy(bytes.data(), block, 64);
  for (PrgIsa isa : isas(PrgKind::kChaCha20)) {
    EXPECT_EQ(filled(Prg(seed, PrgKind::kChaCha20, isa), 0x1122334455667788u, 320, 64), bytes);
  }
}

// The S-box from its definition: an inversion in GF(2^8) and an affine map.
TEST(Prg, SBoxMatchesItsDefinition) {
  const auto multiply = [](unsigned a, unsigned b) {
    unsigned product = 0;
    for (; b != 0; b >>= 1, a = (a << 1) ^ ((a >> 7) * 0x11bu)) product ^= a * (b & 1u);
    return product;
  };
  for (unsigned x = 0; x < 256; ++x) {
    unsigned inverse = 0;
    for (unsigned y = 1; y < 256; ++y) {
      if (multiply(x, y) == 1) inverse = y;
    }
    unsigned expected = 0x63;
    for (unsigned i = 0; i < 5; ++i) expected ^= ((inverse << i) | (inverse >> (8 - i))) & 0xffu;
    std::uint32_t planes[8];
    for (unsigned p = 0; p < 8; ++p) planes[p] = (x >> p) & 1u;
    math::aes_sub_byte(planes);
    unsigned actual = 0;
    for (unsigned p = 0; p < 8; ++p) actual |= (planes[p] & 1u) << p;
    ASSERT_EQ(actual, expected) << "x = " << x;
  }
}

TEST(Prg, AesCounterWrapsWithoutCarryIntoTheHighWord) {
  std::mt19937_64 random(2);
  for (PrgIsa isa : isas(PrgKind::kAes128Ctr)) {
    Seed near_end = random_seed(random);
    const std::uint64_t low = ~std::uint64_t{0} - 9;  // block 10 is the first after the wrap
    std::memcpy(near_end.mutable_bytes().data() + 16, &low, 8);
    Seed at_zero = near_end;
    std::memset(at_zero.mutable_bytes().data() + 16, 0, 8);
    const Bytes run = filled(Prg(near_end, PrgKind::kAes128Ctr, isa), 3, 0, 4096);
    const Bytes wrapped = filled(Prg(at_zero, PrgKind::kAes128Ctr, isa), 3, 0, 4096 - 160);
    EXPECT_EQ(Bytes(run.begin() + 160, run.end()), wrapped);
  }
}

TEST(Prg, InstructionSetsAgreeOnRandomRanges) {
  std::mt19937_64 random(3);
  for (PrgKind kind : kKinds) {
    for (int round = 0; round < 200; ++round) {
      Seed seed = random_seed(random);
      if (round % 4 == 0) std::memset(seed.mutable_bytes().data() + 16, 0xff, 8);
      const std::uint64_t stream = round % 3 == 0 ? random() : random() % 8;
      const std::uint64_t offset = 64 * (random() % (round % 2 == 0 ? 100 : 1ull << 30));
      const std::size_t size = random() % 6000;
      const Bytes expected = filled(Prg(seed, kind, PrgIsa::kPortable), stream, offset, size);
      for (PrgIsa isa : isas(kind)) {
        ASSERT_EQ(filled(Prg(seed, kind, isa), stream, offset, size), expected)
            << to_string(kind) << " offset " << offset << " size " << size;
      }
    }
  }
}

TEST(Prg, PiecesJoinToTheWhole) {
  std::mt19937_64 random(4);
  for (PrgKind kind : kKinds) {
    const Prg prg(random_seed(random), kind);
    const Bytes whole = filled(prg, 7, 0, 20000);
    for (int round = 0; round < 100; ++round) {
      const std::size_t offset = 64 * (random() % 200);
      const std::size_t size = random() % (whole.size() - offset);
      const auto first = whole.begin() + static_cast<std::ptrdiff_t>(offset);
      ASSERT_EQ(filled(prg, 7, offset, size),
                Bytes(first, first + static_cast<std::ptrdiff_t>(size)));
    }
  }
}

TEST(Prg, FillStaysInsideItsRange) {
  std::mt19937_64 random(5);
  for (PrgKind kind : kKinds) {
    for (PrgIsa isa : isas(kind)) {
      const Prg prg(random_seed(random), kind, isa);
      for (std::size_t size = 0; size < 1300; size += 1 + size / 40) {
        Bytes out(size + 128, 0xa5);
        prg.fill(1, 0, std::span(out).subspan(64, size));
        for (std::size_t i = 0; i < 64; ++i) {
          ASSERT_EQ(out[i], 0xa5);
          ASSERT_EQ(out[64 + size + i], 0xa5);
        }
      }
    }
  }
}

TEST(Prg, AddSubtractAndXorUseTheStreamOfFill) {
  std::mt19937_64 random(6);
  for (PrgKind kind : kKinds) {
    for (PrgIsa isa : isas(kind)) {
      const Prg prg(random_seed(random), kind, isa);
      for (std::size_t count : {0u, 1u, 7u, 8u, 63u, 64u, 65u, 127u, 128u, 200u, 513u, 1000u}) {
        std::vector<std::uint64_t> start(count), stream(count);
        for (std::uint64_t& word : start) word = random();
        std::uint8_t* bytes = reinterpret_cast<std::uint8_t*>(stream.data());
        prg.fill(9, 128, std::span(bytes, count * 8));
        auto sum = start, difference = start, exclusive = start;
        prg.add(9, 128, sum);
        prg.subtract(9, 128, difference);
        prg.exclusive_or(9, 128, exclusive);
        for (std::size_t i = 0; i < count; ++i) {
          ASSERT_EQ(sum[i], start[i] + stream[i]);
          ASSERT_EQ(difference[i], start[i] - stream[i]);
          ASSERT_EQ(exclusive[i], start[i] ^ stream[i]);
        }
      }
    }
  }
}

TEST(Prg, StreamsAndSeedsDiffer) {
  std::mt19937_64 random(7);
  for (PrgKind kind : kKinds) {
    const Seed seed = random_seed(random);
    const Prg prg(seed, kind), other(random_seed(random), kind);
    const Bytes zero = filled(prg, 0, 0, 4096);
    for (int bit = 0; bit < 64; ++bit) {
      const Bytes stream = filled(prg, std::uint64_t{1} << bit, 0, 4096);
      int equal = 0;
      for (std::size_t i = 0; i < zero.size(); ++i) equal += zero[i] == stream[i] ? 1 : 0;
      ASSERT_LT(equal, 64) << "stream 2^" << bit;  // 16 expected of independent bytes
    }
    EXPECT_NE(filled(other, 0, 0, 64), filled(prg, 0, 0, 64));
    EXPECT_NE(filled(prg, 0, 64, 64), filled(prg, 0, 0, 64));
  }
}

TEST(PrgDeathTest, RefusesOffsetsInsideABlockAndStreamsThatEnd) {
  const Prg aes(Seed(), PrgKind::kAes128Ctr), chacha(Seed(), PrgKind::kChaCha20);
  Bytes out(65);
  EXPECT_DEATH(aes.fill(0, 32, out), "multiples of 64");
  EXPECT_DEATH(chacha.fill(0, 0xffffffffull * 64, out), "ends after");
  chacha.fill(0, 0xffffffffull * 64, std::span(out).first(64));
}

}  // namespace
}  // namespace beaverpond
