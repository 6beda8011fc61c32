// Factories that deal with the stand-in of the pool tests, and consumers that check it.
#pragma once

#include <gtest/gtest.h>

#include <set>

#include "offline/factory/service.h"
#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {

inline FactoryOptions factory_options(const TestSite& site) {
  FactoryOptions options;
  options.pools = site.set_options();
  options.key = test_key();
  options.correction_size.value = site.correction_size;
  options.dealers = {fake_deal, fake_deal};
  options.segment_bundles = 4;
  return options;
}

/// One class of the service, dealt by the stand-in.
inline ServiceClass service_class(const TestSite& site, const std::string& name, std::uint32_t lane,
                                  std::uint64_t low, std::uint64_t high) {
  ServiceClass one;
  one.made.name = name;
  one.made.key = test_key(lane);
  one.made.correction_size.value = site.correction_size;
  one.made.dealers = {fake_deal, fake_deal};
  one.made.segment_bundles = 4;
  one.demand.low_bundles = low;
  one.demand.high_bundles = high;
  return one;
}

inline ServiceOptions service_options(const TestSite& site) {
  ServiceOptions options;
  options.pools = site.set_options();
  options.poll_interval = std::chrono::milliseconds(5);
  return options;
}

/// Claims and reads up to `limit` common bundles on all players, checks that the correction fits
/// the seeds, and that no number and no seed ever came before.
class Consumer {
 public:
  explicit Consumer(const TestSite& site, std::uint32_t lane = 0)
      : site_(site), key_(test_key(lane)) {}

  std::uint64_t consume(std::uint64_t limit) {
    std::vector<Pool> pools;
    std::vector<std::vector<PublishedRange>> published;
    for (int player = 0; player < site_.players; ++player) {
      auto pool = Pool::open(site_.pool_options(player));
      EXPECT_TRUE(pool.ok()) << pool.error().message;
      if (!pool.ok()) return 0;
      auto ranges = pool->ranges(key_);
      EXPECT_TRUE(ranges.ok()) << ranges.error().message;
      if (!ranges.ok()) return 0;
      published.push_back(*ranges);
      pools.push_back(std::move(pool).value());
    }
    std::uint64_t consumed = 0;
    for (const PublishedRange& range : common_ranges(published)) {
      std::uint64_t first = range.first;
      for (Pool& pool : pools) first = std::max(first, pool.watermark(key_).value());
      const std::uint64_t end = std::min(range.end(), first + limit - consumed);
      if (first >= end) continue;
      for (Pool& pool : pools) {
        const Claim claim = claim_of({range}, first, end, site_.players);
        EXPECT_TRUE(pool.claim_blocking(key_, claim).ok());
      }
      for (std::uint64_t number = first; number < end; ++number) spend(pools, number);
      consumed += end - first;
    }
    return consumed;
  }

  std::size_t spent() const { return numbers_.size(); }

 private:
  void spend(std::vector<Pool>& pools, std::uint64_t number) {
    EXPECT_TRUE(numbers_.insert(number).second) << "bundle " << number << " was spent before";
    const int designated = designated_player(number, site_.players);
    std::vector<Seed> seeds;
    Bundle with_correction;
    for (Pool& pool : pools) {
      auto bundle = pool.read_bundle_blocking(key_, number);
      ASSERT_TRUE(bundle.ok()) << bundle.error().message;
      const std::string hex = to_hex(bundle->seed().bytes());
      EXPECT_TRUE(seeds_.insert(hex).second) << "a seed was used before";
      seeds.push_back(bundle->seed());
      if (static_cast<int>(seeds.size()) - 1 == designated) {
        with_correction = std::move(*bundle);
      } else {
        EXPECT_TRUE(bundle->correction().empty());
      }
    }
    std::vector<std::uint8_t> expected(site_.correction_size);
    EXPECT_TRUE(fake_deal(seeds, designated, expected).ok());
    const auto found = with_correction.correction();
    EXPECT_TRUE(std::equal(found.begin(), found.end(), expected.begin(), expected.end()));
  }

  TestSite site_;
  LaneKey key_;
  std::set<std::uint64_t> numbers_;
  std::set<std::string> seeds_;
};

}  // namespace beaverpond::testing
