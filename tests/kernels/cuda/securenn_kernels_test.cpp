// The kernels of SecureNN's digits and steps, one by one in small grids: against the CPU's
// operations, under several schedules, and without races (the same program under ThreadSanitizer).
#include <gtest/gtest.h>

#include "kernels/cpu/prg.h"
#include "kernels/cuda/securenn.cuh"
#include "kernels/cuda/securenn_streams.cuh"
#include "kernels/securenn_backend.h"
#include "simt/run.h"
#include "tests/kernels/cuda/kernel_test.h"

namespace beaverpond::cuda {
namespace {

using securenn::blocks_of;
using securenn::cpu_operations;
using securenn::packed_bytes;

/// A full block, and one with a few elements.
constexpr std::uint64_t kCount = 67;
constexpr std::uint64_t kBlocks = 2;
constexpr std::uint64_t kStream = 77;

class SecurennKernels : public KernelTest {
 protected:
  static std::span<std::uint8_t> bytes(WordList& words) { return bytes_of(Words(words)); }

  /// The records that kernels of digits take, by the CPU.
  WordList records(PrgKind prg, std::uint32_t record_bytes) const {
    WordList memory(kBlocks * record_bytes / 8);
    for (std::uint64_t block = 0; block < kBlocks; ++block) {
      Prg(seed_, prg)
          .fill(kStream + block, 0, bytes(memory).subspan(block * record_bytes, record_bytes));
    }
    return memory;
  }
  securenn::StreamOf stream(PrgKind prg) const { return {&seed_, prg, kStream}; }
  /// Shares of the bits of what may be compared, packed.
  WordList digits(PrgKind prg) {
    WordList packed(packed_bytes(kCount) / 8);
    cpu_operations().draw_digits(stream(prg), bytes(packed), kHostStream);
    return packed;
  }

  /// The functor on the device against the step on the CPU, each on memory of its own that begins
  /// alike: make(tensors) is the step on tensor 0, 1, ..
  template <class Element, class Make>
  void check_step(const char* what, std::size_t tensors, Make make) {
    SCOPED_TRACE(what);
    std::vector<WordList> device;
    for (std::size_t i = 0; i < tensors; ++i) device.push_back(words(2 * kSteps));
    std::vector<WordList> cpu = device;
    simt::run(options_, &for_each_index<Element>, 2, 24, 0, Element{make(device)}, kSteps);
    const auto step = make(cpu);
    for (std::uint64_t i = 0; i < kSteps; ++i) step(i);
    EXPECT_EQ(device, cpu);
    EXPECT_GT(kSteps, 48u);  // threads take two
  }

  static constexpr std::uint64_t kSteps = 70;
  const Seed seed_ = seed();
};

INSTANTIATE_TEST_SUITE_P(Schedules, SecurennKernels, ::testing::Values(1, 2, 3));

TEST_P(SecurennKernels, StreamsOfBlocks) {
  constexpr std::uint32_t kRecordBytes = 2 * kAesGroupBytes;
  StreamRecords target;
  target.units = kBlocks * kRecordBytes / 64;
  target.record_units = FastDivide(kRecordBytes / 64);
  WordList chacha(kBlocks * kRecordBytes / 8), aes(chacha.size());
  target.data = reinterpret_cast<std::uint8_t*>(chacha.data());
  ChaChaKey chacha_key{};
  make_key(seed_, chacha_key);
  simt::run(options_, &chacha20_records, 2, 96, 0, ChaChaStream{&chacha_key, kStream, 0}, target);
  EXPECT_EQ(chacha, records(PrgKind::kChaCha20, kRecordBytes));

  target.data = reinterpret_cast<std::uint8_t*>(aes.data());
  AesKey key{};
  make_key(seed_, key);
  simt::run(options_, &aes128_records, 1, 32, 0, AesStream{&key, kStream, 0}, target);
  EXPECT_EQ(aes, records(PrgKind::kAes128Ctr, kRecordBytes));
}

TEST_P(SecurennKernels, DrawnDigitsAndSharesOfBits) {
  constexpr PrgKind kPrg = PrgKind::kChaCha20;
  const WordList x = words(kCount);
  const WordList streams = records(kPrg, kDrawRecordBytes);
  DigitsJob job{
      reinterpret_cast<const std::uint8_t*>(streams.data()), 0, kCount, x.data(), 0, nullptr};
  WordList drawn(packed_bytes(kCount) / 8);
  job.out = halves(drawn);
  simt::run(options_, &draw_digits<false>, kBlocks, kDigitThreads, kDrawSharedBytes, job);
  EXPECT_EQ(drawn, digits(kPrg));
  for (const int bits : {63, 64}) {
    WordList shares(drawn.size()), expected(drawn.size());
    job.mask = ~std::uint64_t{0} >> (64 - bits);
    job.out = halves(shares);
    simt::run(options_, &draw_digits<true>, kBlocks, kDigitThreads, kDrawSharedBytes, job);
    cpu_operations().share_bits(x, bits, stream(kPrg), bytes(expected), kHostStream);
    EXPECT_EQ(shares, expected) << bits;
  }
}

TEST_P(SecurennKernels, PrivateCompareAndItsAnswer) {
  constexpr PrgKind kPrg = PrgKind::kAes128Ctr;
  const WordList streams = records(kPrg, kCompareRecordBytes);
  WordList bound = words(kCount);
  // Bounds that no word can be the threshold of.
  bound[0] = 0, bound[1] = ~std::uint64_t{0}, bound[2] = ~std::uint64_t{0} >> 1, bound[3] = 0;
  const WordList beta = words(blocks_of(kCount));
  WordList x[2] = {digits(kPrg), WordList(packed_bytes(kCount) / 8)};
  cpu_operations().share_bits(words(kCount), 64, stream(kPrg), bytes(x[1]), kHostStream);
  for (const int bits : {63, 64}) {
    WordList sent[2];
    for (const int player : {0, 1}) {
      const bool at_least = bits == 64;
      sent[player] = WordList(packed_bytes(kCount) / 8);
      WordList expected(sent[player].size());
      const PrivateCompareJob job{reinterpret_cast<const std::uint8_t*>(streams.data()),
                                  0,
                                  kCount,
                                  halves(x[player]),
                                  bound.data(),
                                  beta.data(),
                                  halves(sent[player]),
                                  player,
                                  at_least};
      simt::run(options_, bits == 64 ? &private_compare<64> : &private_compare<63>, kBlocks,
                kDigitThreads, kCompareSharedBytes, job);
      cpu_operations().compare(
          {player, at_least, bits, bytes(x[player]), bound, beta, stream(kPrg)}, bytes(expected),
          kHostStream);
      EXPECT_EQ(sent[player], expected) << "player " << player << ", " << bits << " bits";
    }
    WordList found(blocks_of(kCount)), expected(found.size());
    simt::run(options_, &find_zero, kBlocks, kDigitThreads, kFindZeroSharedBytes, halves(sent[0]),
              halves(sent[1]), kCount, reinterpret_cast<std::uint16_t*>(found.data()));
    cpu_operations().find_zero(bytes(sent[0]), bytes(sent[1]), expected, kHostStream);
    EXPECT_EQ(found, expected) << bits;
    EXPECT_NE(found[0], 0u);
  }
}

TEST_P(SecurennKernels, Steps) {
  using securenn::Word;
  using List = std::vector<WordList>;
  const auto at = [](List& t, std::size_t i) { return t[i].data(); };
  check_step<XorWordsElement>("xor", 2, [&](List& t) {
    return securenn::XorWords{at(t, 0), at(t, 1)};
  });
  check_step<ReduceOddElement>("reduce", 1, [&](List& t) {
    t[0][3] = ~Word{0};
    return securenn::ReduceOdd{at(t, 0)};
  });
  check_step<AddOddElement>("add", 2, [&](List& t) {
    return securenn::AddOdd{at(t, 0), at(t, 1)};
  });
  check_step<SubtractOddElement>("subtract", 2, [&](List& t) {
    t[0][3] = ~Word{0}, t[1][4] = t[0][4];
    return securenn::SubtractOdd{at(t, 0), at(t, 1)};
  });
  check_step<MaskDoubleElement>("mask", 3, [&](List& t) {
    return securenn::MaskDouble{at(t, 0), at(t, 1), at(t, 2)};
  });
  check_step<ConvertSumElement>("sum", 3, [&](List& t) {
    return securenn::ConvertSum{at(t, 0), at(t, 1), at(t, 2)};
  });
  for (const int player : {0, 1}) {
    check_step<FinishConvertElement>("convert", 7, [&](List& t) {
      return securenn::FinishConvert{player,   at(t, 0), at(t, 1), at(t, 2),
                                     at(t, 3), at(t, 4), at(t, 5), at(t, 6)};
    });
    check_step<FlipBitsElement>("flip", 4, [&](List& t) {
      return securenn::FlipBits{player, at(t, 0), at(t, 1), at(t, 2), at(t, 3)};
    });
    check_step<NotXorElement>("not xor", 3, [&](List& t) {
      return securenn::NotXor{player, at(t, 0), at(t, 1), at(t, 2)};
    });
    check_step<FinishTripleElement>("triple", 5, [&](List& t) {
      return securenn::FinishTriple{player == 0, kSteps,   at(t, 0), at(t, 1),
                                    at(t, 2),    at(t, 3), at(t, 4)};
    });
    check_step<FinishFusedElement>("fused", 6, [&](List& t) {
      return securenn::FinishFused{player,   kSteps,   at(t, 0), at(t, 1),
                                   at(t, 2), at(t, 3), at(t, 4), at(t, 5)};
    });
  }
  check_step<MaskOddDoubleElement>("mask, odd", 2, [&](List& t) {
    return securenn::MaskOddDouble{at(t, 0), at(t, 1)};
  });
  check_step<DealFusedElement>("deal", 3, [&](List& t) {
    return securenn::DealFused{kSteps, at(t, 0), at(t, 1), at(t, 2)};
  });
  check_step<SpreadBitsElement>("spread", 2, [&](List& t) {
    return securenn::SpreadBits{at(t, 0), at(t, 1)};
  });
  check_step<SumOddElement>("sum, odd", 2, [&](List& t) {
    t[0][3] = ~Word{0}, t[1][3] = ~Word{0};
    return securenn::SumOdd{at(t, 0), at(t, 1)};
  });
}

}  // namespace
}  // namespace beaverpond::cuda
