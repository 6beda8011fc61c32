// Small pools with recognisable contents.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "offline/pool/block.h"
#include "offline/pool/pool.h"
#include "offline/pool/pool_key.h"
#include "offline/pool/pool_set.h"
#include "offline/pool/segment_set.h"

namespace beaverpond::testing {

inline LaneKey test_key(std::uint32_t lane = 0) {
  LaneKey key;
  key.plan.fill(0x5a);
  key.lane = lane;
  return key;
}

inline PoolIdentity test_identity(int player, int players) {
  PoolIdentity identity;
  identity.pool_id.fill(7);
  identity.epoch = 3;
  identity.roster_hash.fill(9);
  identity.player = player;
  identity.players = players;
  return identity;
}

/// One dealer for all tests of a process.
inline const DealerKey& test_dealer() {
  static const DealerKey kDealer = DealerKey::generate().value();
  return kDealer;
}

/// What the pool key of `player` is made of.
inline std::array<std::uint8_t, 32> test_pool_secret(int player) {
  std::array<std::uint8_t, 32> secret{};
  secret.fill(static_cast<std::uint8_t>(player + 1));
  return secret;
}

inline PublicKey test_pool_key(int player) {
  return public_key_of(test_pool_secret(player));
}

/// A key file of mode 0400, durable; `storage` may be the real one.
inline Result<void> write_test_key(Storage& storage, const std::string& path, int player) {
  {
    BP_ASSIGN(const auto file, storage.open(path, Storage::Mode::kCreateNew));
    BP_TRY(file->write_at(0, encode_pool_key(test_pool_secret(player))));
    BP_TRY(file->sync());
  }
  (void)::chmod(path.c_str(), 0400);  // no effect on a simulated disk, whose files have that mode
  return storage.sync_directory(path.substr(0, path.rfind('/')));
}

inline SetId test_set_id(std::uint64_t tag) {
  SetId id{};
  store_le(id, 0, tag, 8);
  return id;
}

/// A seed that names its bundle: distinct for every set, player and number.
inline Seed test_seed(std::uint64_t set_tag, int player, std::uint64_t number) {
  std::array<std::uint8_t, 32> bytes{};
  store_le(bytes, 0, set_tag, 8);
  store_le(bytes, 8, number, 8);
  store_le(bytes, 16, static_cast<std::uint64_t>(player), 8);
  const Hash256 hash = sha256(bytes);
  return Seed{std::span<const std::uint8_t, 32>(hash)};
}

inline bool same_seed(const Seed& a, const Seed& b) {
  return std::equal(a.bytes().begin(), a.bytes().end(), b.bytes().begin());
}

/// Stands in for the dealer: a function of all seeds, so that a mixed bundle shows.
inline Result<void> fake_deal(std::span<const Seed> seeds, int designated,
                              std::span<std::uint8_t> correction) {
  std::vector<std::uint8_t> input{static_cast<std::uint8_t>(designated)};
  for (const Seed& seed : seeds) {
    input.insert(input.end(), seed.bytes().begin(), seed.bytes().end());
  }
  const Hash256 hash = sha256(input);
  for (std::size_t i = 0; i < correction.size(); ++i) {
    correction[i] = static_cast<std::uint8_t>(hash[i % 32] + (i / 32) * 7);
  }
  return {};
}

/// Pools of `players` on one storage, in the folders <root><player>/pool.
struct TestSite {
  Storage* storage = nullptr;
  std::string root = "/m";
  int players = 2;
  std::uint64_t correction_size = 200;
  LaneKey key = test_key();  ///< what is published

  std::string machine(int player) const { return root + std::to_string(player); }
  std::string directory(int player) const { return machine(player) + "/pool"; }
  std::string segment_path(int player, const PublishedRange& range) const {
    return lane_directory(directory(player), key) + "/" + segment_name(range, kSegmentSuffix);
  }

  void make_machines() const {
    for (int player = 0; player < players; ++player) {
      ASSERT_TRUE(storage->make_directory(machine(player)).ok());
      const auto key = write_test_key(*storage, pool_key_path(directory(player)), player);
      ASSERT_TRUE(key.ok()) << key.error().message;
    }
  }

  PoolSetOptions set_options() const {
    PoolSetOptions options;
    const PoolIdentity identity = test_identity(0, players);
    for (int player = 0; player < players; ++player) {
      options.directories.push_back(directory(player));
      options.pool_keys.push_back(test_pool_key(player));
    }
    options.pool_id = identity.pool_id;
    options.epoch = identity.epoch;
    options.roster_hash = identity.roster_hash;
    options.storage = storage;
    options.dealer_key = &test_dealer();
    return options;
  }

  PoolOptions pool_options(int player) const {
    PoolOptions options;
    options.directory = directory(player);
    options.identity = test_identity(player, players);
    options.storage = storage;
    options.dealer_key = test_dealer().public_key();
    options.pool_key = test_pool_key(player);
    return options;
  }

  SegmentSetSpec spec(std::uint64_t first, std::uint64_t count, std::uint64_t tag) const {
    SegmentSetSpec spec;
    spec.key = key;
    spec.range = {first, count, test_set_id(tag)};
    spec.correction_size.value = correction_size;
    return spec;
  }

  std::vector<Seed> seeds_of(std::uint64_t tag, std::uint64_t number) const {
    std::vector<Seed> seeds;
    for (int player = 0; player < players; ++player) {
      seeds.push_back(test_seed(tag, player, number));
    }
    return seeds;
  }

  Result<void> publish(PoolSet& pools, std::uint64_t first, std::uint64_t count,
                       std::uint64_t tag) const {
    std::vector<std::vector<Seed>> seeds(static_cast<std::size_t>(players));
    for (std::uint64_t number = first; number < first + count; ++number) {
      for (int player = 0; player < players; ++player) {
        seeds[static_cast<std::size_t>(player)].push_back(test_seed(tag, player, number));
      }
    }
    BP_ASSIGN(SegmentSetWriter writer,
              SegmentSetWriter::create_blocking(pools, spec(first, count, tag), seeds));
    std::vector<std::uint8_t> correction(correction_size);
    for (std::uint64_t number = first; number < first + count; ++number) {
      EXPECT_TRUE(
          fake_deal(seeds_of(tag, number), designated_player(number, players), correction).ok());
      BP_TRY(writer.append_blocking(correction));
    }
    return writer.publish_blocking();
  }

  /// Opens the pools as a factory, publishes one range, and lets go of them.
  Result<void> publish_once(std::uint64_t first, std::uint64_t count, std::uint64_t tag) const {
    BP_ASSIGN(PoolSet pools, PoolSet::open(set_options()));
    return publish(pools, first, count, tag);
  }

  void expect_bundle(const Bundle& bundle, int player, std::uint64_t tag,
                     std::uint64_t number) const {
    EXPECT_EQ(bundle.number(), number);
    EXPECT_EQ(bundle.designated(), designated_player(number, players));
    EXPECT_TRUE(same_seed(bundle.seed(), test_seed(tag, player, number)));
    if (bundle.designated() != player) {
      EXPECT_TRUE(bundle.correction().empty());
      return;
    }
    std::vector<std::uint8_t> expected(correction_size);
    EXPECT_TRUE(fake_deal(seeds_of(tag, number), bundle.designated(), expected).ok());
    ASSERT_EQ(bundle.correction().size(), expected.size());
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), bundle.correction().begin()));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bundle.correction().data()) % 64, 0u);
  }
};

inline Claim claim_of(const std::vector<PublishedRange>& segments, std::uint64_t first,
                      std::uint64_t end, int players) {
  Claim claim;
  claim.first = first;
  claim.end = end;
  for (const PublishedRange& range : segments) {
    if (range.first < end && range.end() > first) claim.segments.push_back(range);
  }
  claim.witnesses.resize(static_cast<std::size_t>(players));
  return claim;
}

}  // namespace beaverpond::testing
