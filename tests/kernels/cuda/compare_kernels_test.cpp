// The kernels of comparisons, one by one in small grids: every round and the dealer against the
// CPU's backend, under several schedules, and without races (the same program under
// ThreadSanitizer).
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/prg.h"
#include "kernels/cuda/compare.cuh"
#include "kernels/cuda/compare_wide.cuh"
#include "kernels/cuda/deal_compare.cuh"
#include "kernels/cuda/deal_compare_wide.cuh"
#include "kernels/cuda/elements.cuh"
#include "simt/run.h"
#include "tests/kernels/cuda/kernel_test.h"

namespace beaverpond::cuda {
namespace {

/// Two blocks of the layout, the second not full.
constexpr std::uint64_t kCount = 600;
constexpr std::uint64_t kBlocks = 2;
constexpr PrgKind kPrg = PrgKind::kChaCha20;

class CompareKernels : public KernelTest {
 protected:
  void every_round_of_a_player(const CompareLayout& layout);
  void the_dealers_records(const CompareLayout& layout);

  static const std::uint8_t* bytes(const WordList& words) {
    return reinterpret_cast<const std::uint8_t*>(words.data());
  }

  const std::unique_ptr<Backend> cpu_ = make_cpu_backend();
};

INSTANTIATE_TEST_SUITE_P(Schedules, CompareKernels, ::testing::Values(1, 2, 3));

/// What a player's rounds read and write, in the one and in the other way.
struct Rounds {
  explicit Rounds(const CompareLayout& layout)
      : kept(compare_kept_words(layout, kCount)),
        delta(packed_words(1, kCount)),
        leaf(packed_words(static_cast<std::uint64_t>(layout.leaf_wires), kCount)),
        root(packed_words(static_cast<std::uint64_t>(layout.root.wires()), kCount)),
        final_bits(packed_words(static_cast<std::uint64_t>(layout.final_bits), kCount)),
        out(kCount),
        b(kCount),
        bit(kCount) {}
  WordList kept, delta, leaf, root, final_bits, out, b, bit;
};

TEST_P(CompareKernels, EveryRoundOfAPlayer) {
  every_round_of_a_player(make_compare_layout(CompareUse::kReluTruncate, 16));
}

TEST_P(CompareKernels, EveryRoundOfAPlayerFarApart) {
  every_round_of_a_player(make_wide_compare_layout(CompareUse::kReluTruncate, 16));
}

void CompareKernels::every_round_of_a_player(const CompareLayout& layout) {
  const std::uint64_t record = layout.correction_record_bytes();
  const Seed own = seed();
  const WordList correction = words(kBlocks * record / 8);
  WordList opened = words(kCount);
  const WordList x = words(kCount);
  Rounds expected(layout), actual(layout);
  // Openings are random words: a round is a function of what it is given.
  const WordList leaf = words(expected.leaf.size()), root = words(expected.root.size()),
                 final_bits = words(expected.final_bits.size());

  CompareState state;
  state.layout = &layout;
  state.count = kCount;
  state.material = {&own, kPrg, 7, 8, bytes(correction), true};
  state.opened = opened;
  state.kept = expected.kept;
  state.delta = expected.delta;
  cpu_->compare_leaves(state, expected.leaf, kHostStream);
  cpu_->compare_nodes(state, leaf, expected.root, kHostStream);
  cpu_->compare_root(state, root, expected.final_bits, kHostStream);
  cpu_->compare_finish(state, final_bits, x, {}, expected.out, expected.b, kHostStream);
  cpu_->bit_to_word({expected.delta, expected.b}, true, expected.bit, kHostStream);
  ASSERT_TRUE(cpu_->synchronize(kHostStream).ok());

  WordList mask_words(kBlocks * layout.mask_record_bytes() / 8);
  Prg(own, kPrg).fill(7, 0, bytes_of(Words(mask_words)));
  const RecordPieces masks{bytes(mask_words) + layout.mask_planes_offset(),
                           layout.mask_record_bytes()};
  const auto from = [&](std::uint64_t offset) {
    return RecordPieces{bytes(correction) + offset, record};
  };
  CompareJob job;
  job.layout = layout;
  job.count = kCount;
  job.blocks = kBlocks;
  job.kept = halves(actual.kept);
  job.one = ~0u;
  simt::run(options_, layout.wide ? &compare_wide_leaves_kernel : &compare_leaves_kernel, 1, 64,
            2 * kWarpPlanesBytes, job, opened.data(), masks, from(0), halves(actual.leaf));
  if (layout.wide) {
    simt::run(options_, &compare_wide_nodes_kernel, 2, 32, 0, job, halves(leaf), masks,
              from(layout.products_offset()));
  } else {
    simt::run(options_, &compare_nodes_kernel, 2, 32, 0, job, halves(leaf), masks,
              from(layout.products_offset()), halves(actual.root));
  }
  simt::run(options_, &compare_root_kernel, 2, 32, 0, job, halves(root), masks,
            from(layout.products_offset()), layout.product_planes, halves(actual.final_bits));
  FinishJob finish;
  finish.opened = opened.data();
  finish.final_bits = final_bits.data();
  finish.x = x.data();
  finish.delta = actual.delta.data();
  finish.out = actual.out.data();
  finish.b_out = actual.b.data();
  finish.material = from(layout.packed_offset());
  simt::run(options_, &compare_finish_kernel, (kCount + 95) / 96, 96, 0, job, finish);
  simt::run(options_, &for_each_index<BitToWordElement>, 2, 48, 0,
            BitToWordElement{actual.delta.data(), actual.b.data(), 1, actual.bit.data()}, kCount);

  EXPECT_EQ(actual.leaf, expected.leaf);
  EXPECT_EQ(actual.root, expected.root);
  EXPECT_EQ(actual.final_bits, expected.final_bits);
  EXPECT_EQ(actual.out, expected.out);
  EXPECT_EQ(actual.b, expected.b);
  EXPECT_EQ(actual.delta, expected.delta);
  EXPECT_EQ(actual.bit, expected.bit);
}

/// A dealer of one player: its correction is the clear record.
TEST_P(CompareKernels, TheDealersRecords) {
  the_dealers_records(make_compare_layout(CompareUse::kReluTruncate, 16));
}

TEST_P(CompareKernels, TheDealersRecordsFarApart) {
  the_dealers_records(make_wide_compare_layout(CompareUse::kReluTruncate, 16));
}

void CompareKernels::the_dealers_records(const CompareLayout& layout) {
  std::vector<Seed> seeds;
  seeds.push_back(seed());
  WordList expected(kBlocks * layout.correction_record_bytes() / 8), actual(expected.size());
  Backend::DealCompare deal;
  deal.layout = &layout;
  deal.count = kCount;
  deal.prg = kPrg;
  deal.seeds = seeds;
  deal.mask_stream = 3;
  deal.correction_stream = 4;
  deal.correction = bytes_of(Words(expected));
  cpu_->deal_compare(deal, kHostStream);
  ASSERT_TRUE(cpu_->synchronize(kHostStream).ok());

  WordList masks(kBlocks * layout.mask_record_bytes() / 8);
  Prg(seeds[0], kPrg).fill(3, 0, bytes_of(Words(masks)));
  DealJob job;
  job.layout = layout;
  job.blocks = kBlocks;
  job.masks = bytes(masks);
  job.records = reinterpret_cast<std::uint8_t*>(actual.data());
  simt::run(options_, layout.wide ? &deal_wide_planes_kernel : &deal_planes_kernel, 1, 32,
            kWarpPlanesBytes, job);
  simt::run(options_, &deal_words_kernel, kBlocks * 4, 128, 0, job);
  EXPECT_EQ(actual, expected);

  // Another player's stream out of the packed words of 2 bytes, and nothing else.
  const std::uint64_t packed_bytes = layout.words_offset() - layout.packed_offset();
  const std::uint64_t piece = packed_bytes / static_cast<unsigned>(layout.packed_bytes);
  ASSERT_EQ(layout.packed_bytes, 2);
  const WordList stream = words(kBlocks * packed_bytes / 8);
  for (std::uint64_t i = 0; i < kBlocks * piece; ++i) {
    std::uint16_t value = 0, taken = 0;
    std::uint8_t* const at = reinterpret_cast<std::uint8_t*>(expected.data()) +
                             i / piece * layout.correction_record_bytes() + layout.packed_offset() +
                             2 * (i % piece);
    std::memcpy(&value, at, 2);
    std::memcpy(&taken, bytes(stream) + 2 * i, 2);
    value = static_cast<std::uint16_t>(value - taken);
    std::memcpy(at, &value, 2);
  }
  const SubtractPackedElement subtract{layout.packed_offset(),
                                       layout.correction_record_bytes(),
                                       piece,
                                       layout.packed_bytes,
                                       bytes(stream),
                                       job.records};
  simt::run(options_, &for_each_index<SubtractPackedElement>, 4, 64, 0, subtract, kBlocks * piece);
  EXPECT_EQ(actual, expected);
}

}  // namespace
}  // namespace beaverpond::cuda
