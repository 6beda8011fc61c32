// What the dealer writes, checked against the relations themselves, expanded by hand.
#include "offline/dealer/dealer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "beaverpond/program_builder.h"
#include "kernels/cpu/prg.h"

namespace beaverpond {
namespace {

using Numbers = std::vector<std::uint64_t>;

Seed numbered_seed(std::uint8_t number) {
  Seed seed;
  for (std::uint8_t& byte : seed.mutable_bytes()) byte = number++;
  return seed;
}

std::vector<Seed> numbered_seeds(int players, std::uint8_t from = 1) {
  std::vector<Seed> seeds;
  for (int i = 0; i < players; ++i) {
    seeds.push_back(numbered_seed(static_cast<std::uint8_t>(from + 40 * i)));
  }
  return seeds;
}

Numbers expand(const Seed& seed, const Plan& plan, std::uint64_t stream, std::uint64_t count) {
  Numbers words(count);
  Prg(seed, plan.prg)
      .fill(stream, 0, {reinterpret_cast<std::uint8_t*>(words.data()), 8 * words.size()});
  return words;
}

class DealerTest : public ::testing::TestWithParam<PrgKind> {
 protected:
  /// X Y, and a ReLU of it: products and comparison material.
  void SetUp() override {
    ProgramBuilder builder;
    const ValueId x = builder.input(0, {3, 5}, 16);
    const ValueId y = builder.input(1, {5, 4}, 16);
    builder.reveal(builder.relu_truncate(builder.matmul(x, y), 16, true).value, 3);
    auto program = builder.finish();
    ASSERT_TRUE(program.ok()) << program.error().message;
    auto plan = make_plan(*program, GetParam());
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    plan_ = *plan;
  }

  std::vector<std::uint8_t> deal(const std::vector<Seed>& seeds, int designated,
                                 int fill_before = 0) const {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    auto dealer = Dealer::create(plan_, static_cast<int>(seeds.size()), *backend);
    EXPECT_TRUE(dealer.ok()) << dealer.error().message;
    auto memory = backend->allocate(plan_.correction_size);
    EXPECT_TRUE(memory.ok());
    const std::span<std::uint8_t> bytes = memory->bytes();
    std::memset(bytes.data(), fill_before, bytes.size());
    EXPECT_TRUE(dealer->deal(seeds, designated, bytes, kHostStream).ok());
    return {bytes.begin(), bytes.end()};
  }

  /// Sum over all players of what their seeds say.
  Numbers opened_mask(const std::vector<Seed>& seeds, std::uint32_t entry) const {
    Numbers sum(plan_.entries[entry].count);
    for (const Seed& seed : seeds) {
      const Numbers share = expand(seed, plan_, plan_.mask_stream(entry), sum.size());
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += share[i];
    }
    return sum;
  }

  Plan plan_;
};

TEST_P(DealerTest, TheSharesOfAProductAddUpToTheProductOfTheMasks) {
  for (const int players : {2, 3, 5}) {
    for (int designated = 0; designated < players; ++designated) {
      const std::vector<Seed> seeds = numbered_seeds(players);
      const std::vector<std::uint8_t> correction = deal(seeds, designated);
      for (std::uint32_t e = 0; e < plan_.entries.size(); ++e) {
        const PlanEntry& entry = plan_.entries[e];
        if (entry.kind != EntryKind::kMatMul) continue;
        Numbers sum(entry.count);
        std::memcpy(sum.data(), correction.data() + entry.correction_offset_bytes, 8 * sum.size());
        for (int player = 0; player < players; ++player) {
          if (player == designated) continue;
          const Numbers share = expand(seeds[static_cast<std::size_t>(player)], plan_,
                                       plan_.correction_stream(e), sum.size());
          for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += share[i];
        }
        const Numbers a = opened_mask(seeds, entry.mask_x);
        const Numbers b = opened_mask(seeds, entry.mask_y);
        Numbers product(entry.count);
        for (std::size_t i = 0; i < entry.m; ++i) {
          for (std::size_t j = 0; j < entry.n; ++j) {
            for (std::size_t k = 0; k < entry.k; ++k) {
              product[i * entry.n + j] += a[i * entry.k + k] * b[k * entry.n + j];
            }
          }
        }
        EXPECT_EQ(sum, product) << players << " players, designated " << designated;
      }
    }
  }
}

TEST_P(DealerTest, WritesEveryByteAndNothingElseDependsOnTheBuffer) {
  const std::vector<Seed> seeds = numbered_seeds(3);
  EXPECT_EQ(deal(seeds, 1, 0x00), deal(seeds, 1, 0xff));
}

TEST_P(DealerTest, TimingEveryEntryChangesNoByte) {
  const std::vector<Seed> seeds = numbered_seeds(3);
  const std::unique_ptr<Backend> backend = make_cpu_backend();
  Result<Dealer> dealer = Dealer::create(plan_, 3, *backend);
  ASSERT_TRUE(dealer.ok());
  Result<Buffer> memory = backend->allocate(plan_.correction_size);
  ASSERT_TRUE(memory.ok());
  std::vector<double> seconds(plan_.entries.size());
  ASSERT_TRUE(dealer->deal(seeds, 1, memory->bytes(), kHostStream, seconds).ok());
  for (const double entry : seconds) EXPECT_GT(entry, 0);
  const std::vector<double> once = seconds;
  ASSERT_TRUE(dealer->deal(seeds, 1, memory->bytes(), kHostStream, seconds).ok());
  for (std::size_t i = 0; i < seconds.size(); ++i) EXPECT_GT(seconds[i], once[i]);
  const std::span<std::uint8_t> bytes = memory->bytes();
  EXPECT_EQ(std::vector<std::uint8_t>(bytes.begin(), bytes.end()), deal(seeds, 1));
}

TEST_P(DealerTest, EverySeedMatters) {
  const std::vector<Seed> seeds = numbered_seeds(3);
  const std::vector<std::uint8_t> first = deal(seeds, 0);
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    std::vector<Seed> other = seeds;
    other[i] = numbered_seed(200);
    EXPECT_NE(deal(other, 0), first) << "seed " << i;
  }
  EXPECT_NE(deal(seeds, 1), first);
}

INSTANTIATE_TEST_SUITE_P(Prgs, DealerTest,
                         ::testing::Values(PrgKind::kAes128Ctr, PrgKind::kChaCha20));

}  // namespace
}  // namespace beaverpond
