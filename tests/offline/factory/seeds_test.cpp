#include "offline/factory/seeds.h"

#include <gtest/gtest.h>

#include <set>

namespace beaverpond::testing {
namespace {

Result<void> frozen(std::span<std::uint8_t> bytes) {
  std::fill(bytes.begin(), bytes.end(), std::uint8_t{0x42});
  return {};
}

TEST(SeedMaker, RepeatedGeneratorStillGivesFreshSeeds) {
  // Two machines cloned from one snapshot: the system's generator says the same to both.
  SeedMaker one(frozen);
  SeedMaker two(frozen);
  std::set<std::string> seen;
  for (SeedMaker* maker : {&one, &two}) {
    const SetId id = maker->make_set_id().value();
    EXPECT_TRUE(seen.insert(to_hex(id)).second);
    const auto seeds = maker->make_seeds(id, 3, 50).value();
    ASSERT_EQ(seeds.size(), 3u);
    for (const auto& of_player : seeds) {
      ASSERT_EQ(of_player.size(), 50u);
      for (const Seed& seed : of_player) {
        EXPECT_TRUE(seen.insert(to_hex(seed.bytes())).second);
      }
    }
  }
}

TEST(SeedMaker, FailedGeneratorIsAnError) {
  SeedMaker maker([](std::span<std::uint8_t>) -> Result<void> {
    return make_error(ErrorCode::kIo, "no entropy");
  });
  EXPECT_EQ(maker.make_set_id().error().code, ErrorCode::kIo);
  EXPECT_EQ(maker.make_seeds({}, 2, 2).error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace beaverpond::testing
