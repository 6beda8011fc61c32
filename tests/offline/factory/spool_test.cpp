// Delivery without a network: spool and players on simulated disks that lose power.
#include "offline/factory/spool.h"

#include <gtest/gtest.h>

#include "tests/offline/factory/delivery_fixture.h"
#include "tests/offline/pool/memory_disk.h"
#include "tests/soak.h"

namespace beaverpond::testing {
namespace {

class SpoolTest : public ::testing::Test {
 protected:
  static constexpr int kPlayers = 3;

  void SetUp() override {
    site_.factory.storage = site_.players.storage = &disk_;
    site_.factory.players = site_.players.players = kPlayers;
    site_.factory.root = "/f/spool";
    site_.players.root = "/p";
    ASSERT_TRUE(disk_.make_directory("/f").ok());
    site_.factory.make_machines();
    site_.players.make_machines();
    ASSERT_TRUE(disk_.sync_directory("/f").ok());
    ASSERT_TRUE(disk_.sync_directory("/").ok());
  }

  FactoryOptions factory_options_here() const { return factory_options(site_.factory); }

  /// What Puller does in one turn, with a function call for a network.
  Result<bool> turn(int player, Spool& spool) {
    BP_ASSIGN(Incoming incoming, Incoming::open(site_.incoming_options(player)));
    BP_ASSIGN(const SyncRequest request, incoming.report({test_key()}));
    BP_ASSIGN(const SyncAnswer answer, spool.sync_blocking(player, request));
    for (const LaneRange& what : answer.drop) BP_TRY(incoming.drop(what));
    for (const LaneRange& what : answer.publish) BP_TRY(incoming.publish(what));
    for (const SegmentOffer& offer : answer.offers) {
      BP_TRY(incoming.check_new(offer));
      BP_ASSIGN(Incoming::Part part, incoming.begin(offer));
      BP_ASSIGN(const auto file, spool.open(player, offer.what));
      std::vector<std::uint8_t> piece(1000);
      while (part.size_bytes < offer.size_bytes) {
        BP_ASSIGN(const std::size_t read, file->read_at(part.size_bytes, piece));
        if (read == 0) break;
        BP_TRY(incoming.append(part, std::span(piece).first(read)));
      }
      BP_TRY(incoming.finish(std::move(part), offer));
    }
    return !answer.drop.empty() || !answer.publish.empty() || !answer.offers.empty();
  }
  void settle(Spool& spool) {
    for (int idle = 0; idle < 2;) {
      bool busy = false;
      for (int player = 0; player < kPlayers; ++player) {
        auto turned = turn(player, spool);
        ASSERT_TRUE(turned.ok()) << turned.error().message;
        busy = busy || *turned;
      }
      idle = busy ? 0 : idle + 1;
    }
  }
  void make(std::uint64_t bundles) {
    auto factory = Factory::open(factory_options_here());
    ASSERT_TRUE(factory.ok()) << factory.error().message;
    ASSERT_TRUE(factory->make_blocking(bundles).ok());
  }
  LaneSurvey survey() {
    auto pools = PoolSet::open(site_.spool_options());
    return pools->survey(test_key()).value();
  }

  MemoryDisk disk_;
  DeliverySite site_;
};

TEST_F(SpoolTest, PublishesOnlyWhatAllPlayersHoldAndKeepsNoCopy) {
  make(8);
  const auto owner = site_.make_spool();
  Spool& spool = *owner;
  for (int i = 0; i < 3; ++i) {
    for (const int player : {0, 1}) ASSERT_TRUE(turn(player, spool).ok());
  }
  for (int player = 0; player < kPlayers; ++player) EXPECT_EQ(site_.published(player), 0u);
  ASSERT_TRUE(turn(2, spool).ok());  // downloads
  ASSERT_TRUE(turn(1, spool).ok());
  EXPECT_EQ(site_.published(1), 0u);  // the third has not said so yet
  settle(spool);
  for (int player = 0; player < kPlayers; ++player) EXPECT_EQ(site_.published(player), 2u);
  EXPECT_EQ(survey().level_bundles, 8u);
  for (const std::string& path : disk_.files("/f")) {
    EXPECT_TRUE(!path.ends_with(kSegmentSuffix) || disk_.content(path).empty()) << path;
  }
  Consumer consumer(site_.players);
  EXPECT_EQ(consumer.consume(5), 5u);
  settle(spool);
  EXPECT_EQ(survey().level_bundles, 3u);  // the players' watermarks came back
  EXPECT_EQ(survey().watermark, 5u);
  make(4);
  settle(spool);
  EXPECT_EQ(consumer.consume(100), 7u);
  settle(spool);
  EXPECT_EQ(survey().level_bundles, 0u);
  EXPECT_EQ(survey().next_number, 12u);
  for (const std::string& path : disk_.files("/f")) EXPECT_FALSE(path.ends_with(kSegmentSuffix));
}

TEST_F(SpoolTest, FactoryThatDiesWhilePublishingIsNotFollowed) {
  const auto owner = site_.make_spool();
  Spool& spool = *owner;
  // The range is on the first player's folder only.
  make(4);
  const auto ranges =
      list_ranges(disk_, lane_directory(site_.factory.directory(1), test_key()), kSegmentSuffix);
  for (const int player : {1, 2}) {
    ASSERT_TRUE(disk_.unlink(site_.factory.segment_path(player, ranges->front())).ok());
  }
  ASSERT_TRUE(turn(0, spool).ok());
  EXPECT_TRUE(disk_.files("/p0/pool/incoming").empty());  // never offered
  make(4);                                                // opening a factory cleans up
  settle(spool);
  Consumer consumer(site_.players);
  EXPECT_EQ(consumer.consume(100), 4u);
}

TEST_F(SpoolTest, KnownSetIdsAndSpentNumbersAreRefused) {
  make(8);
  const auto owner = site_.make_spool();
  Spool& spool = *owner;
  std::map<std::string, std::vector<std::uint8_t>> copy;
  for (const std::string& path : disk_.files("/f")) {
    if (path.ends_with(kSegmentSuffix)) copy[path] = disk_.content(path);
  }
  settle(spool);
  const auto restore = [&] {  // the factory's folders come back from a backup
    for (const auto& [path, bytes] : copy) {
      auto present = disk_.exists(path);
      if (*present) {
        ASSERT_TRUE(disk_.unlink(path).ok());
      }
      auto file = disk_.open(path, Storage::Mode::kCreateNew);
      ASSERT_TRUE((*file)->write_at(0, bytes).ok());
    }
  };
  restore();
  const auto restored = site_.make_spool();
  const auto held = turn(1, *restored);
  ASSERT_FALSE(held.ok());
  EXPECT_EQ(held.error().code, ErrorCode::kPoolCorrupt);
  EXPECT_NE(held.error().message.find("set id is known"), std::string::npos)
      << held.error().message;
  Consumer consumer(site_.players);
  EXPECT_EQ(consumer.consume(6), 6u);  // the first segment is erased, the second begun
  // A spool that has forgotten the watermark would offer the first again.
  auto incoming = Incoming::open(site_.incoming_options(1));
  ASSERT_TRUE(incoming.ok());
  SegmentOffer offer;
  offer.what.key = test_key();
  offer.what.range = {0, 4, test_set_id(99)};
  EXPECT_NE(incoming->check_new(offer).error().message.find("has spent"), std::string::npos);
  offer.what.range = {6, 4, test_set_id(99)};
  EXPECT_NE(incoming->check_new(offer).error().message.find("holds"), std::string::npos);
  offer.what.range = {8, 4, test_set_id(99)};
  EXPECT_TRUE(incoming->check_new(offer).ok());
}

TEST_F(SpoolTest, WatermarksOfLanesThatNobodyFillsAreIgnored) {
  make(4);
  const auto owner = site_.make_spool();
  LaneKey other = test_key();
  other.plan.back() ^= 1;  // the same folder
  const auto answer = owner->sync_blocking(0, {{{other, 3}, {test_key(7), 3}}, {}});
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(survey().watermark, 0u);  // the folder's ledger is still nobody's
  settle(*owner);
  Consumer consumer(site_.players);
  EXPECT_EQ(consumer.consume(100), 4u);
}

TEST_F(SpoolTest, AfterAFailedSyncADownloadBeginsAnew) {
  make(4);
  const auto owner = site_.make_spool();
  auto incoming = Incoming::open(site_.incoming_options(0));
  const auto answer = owner->sync_blocking(0, {});
  ASSERT_EQ(answer->offers.size(), 1u);
  const SegmentOffer offer = answer->offers[0];
  std::vector<std::uint8_t> bytes(offer.size_bytes);
  ASSERT_TRUE((*owner->open(0, offer.what))->read_at(0, bytes).ok());
  auto part = incoming->begin(offer);
  ASSERT_TRUE(incoming->append(*part, bytes).ok());
  disk_.fail_sync("/p0", 0);
  EXPECT_EQ(incoming->finish(std::move(*part), offer).error().code, ErrorCode::kIo);
  EXPECT_EQ(incoming->begin(offer)->size_bytes, 0u);
}

TEST_F(SpoolTest, DownloadGoesOnWhereItStoppedAndADamagedOneBeginsAnew) {
  site_.factory.correction_size = site_.players.correction_size = 5000;
  make(4);
  const auto owner = site_.make_spool();
  Spool& spool = *owner;
  auto incoming = Incoming::open(site_.incoming_options(0));
  const auto answer = spool.sync_blocking(0, {});
  ASSERT_EQ(answer->offers.size(), 1u);
  const SegmentOffer offer = answer->offers[0];
  std::vector<std::uint8_t> bytes(offer.size_bytes);
  ASSERT_TRUE((*spool.open(0, offer.what))->read_at(0, bytes).ok());
  for (const bool damaged : {true, false}) {
    {
      auto part = incoming->begin(offer);
      EXPECT_EQ(part->size_bytes, 0u);
      ASSERT_TRUE(incoming->append(*part, std::span(bytes).first(3000)).ok());
    }
    auto part = incoming->begin(offer);
    ASSERT_EQ(part->size_bytes, 3000u);
    std::vector<std::uint8_t> rest(bytes.begin() + 3000, bytes.end());
    if (damaged) rest[100] ^= 1;
    ASSERT_TRUE(incoming->append(*part, rest).ok());
    const auto finished = incoming->finish(std::move(*part), offer);
    EXPECT_EQ(finished.ok(), !damaged);
    if (damaged) {
      EXPECT_EQ(finished.error().code, ErrorCode::kIo);
    }
  }
  EXPECT_EQ(incoming->report({})->staged.size(), 1u);
}

TEST_F(SpoolTest, WhatTheFactorySendsDamagedInOnePieceIsItsFault) {
  site_.factory.correction_size = site_.players.correction_size = 5000;
  make(4);
  const auto owner = site_.make_spool();
  auto incoming = Incoming::open(site_.incoming_options(0));
  const SegmentOffer offer = owner->sync_blocking(0, {})->offers.at(0);
  std::vector<std::uint8_t> bytes(offer.size_bytes);
  ASSERT_TRUE((*owner->open(0, offer.what))->read_at(0, bytes).ok());
  const std::size_t header = 300;  // in its signature
  for (const std::size_t at : {header, kBlockSize + 20, 2 * kBlockSize + 3, bytes.size() - 100}) {
    bytes[at] ^= 1;
    auto part = incoming->begin(offer);
    ASSERT_TRUE(incoming->append(*part, bytes).ok());
    const auto finished = incoming->finish(std::move(*part), offer);
    ASSERT_FALSE(finished.ok()) << at;
    EXPECT_EQ(finished.error().code, ErrorCode::kPoolCorrupt) << finished.error().message;
    EXPECT_TRUE(incoming->report({})->staged.empty());
    bytes[at] ^= 1;
  }
  // One that is too short is the network's.
  auto part = incoming->begin(offer);
  EXPECT_FALSE(part->resumed);
  ASSERT_TRUE(incoming->append(*part, std::span(bytes).first(bytes.size() - 1)).ok());
  EXPECT_EQ(incoming->finish(std::move(*part), offer).error().code, ErrorCode::kIo);
}

TEST_F(SpoolTest, PowerLossAtEveryOperationRepeatsNoBundle) {
  Consumer consumer(site_.players);
  const int crashes = campaign_size(600, 20000);
  for (int crash = 0; crash < crashes; ++crash) {
    const auto number = static_cast<std::uint64_t>(crash);
    const int victim = crash % (kPlayers + 1);  // the last is the factory
    const std::string machine = victim == kPlayers ? "/f" : "/p" + std::to_string(victim);
    disk_.stop_after(machine, number * 7 % 90);
    bool made = false;
    if (auto factory = Factory::open(factory_options_here()); factory.ok()) {
      made = factory->make_blocking(4).ok();
    }
    {
      const auto owner = site_.make_spool();
      Spool& spool = *owner;
      for (int round = 0; round < 3; ++round) {
        for (int player = 0; player < kPlayers; ++player) (void)turn(player, spool);
      }
    }
    const Loss loss = crash % 2 == 0 ? Loss::kDropAll : Loss::kTornSectors;
    disk_.crash(machine, loss, number);
    if (crash % 5 == 0) {  // sometimes all lose power at once
      disk_.crash("/f", loss, number);
      for (int player = 0; player < kPlayers; ++player) {
        disk_.crash(site_.players.machine(player), loss, number + 1);
      }
    }
    consumer.consume(number % 10);  // as much as is made: pools that grow cost time
    ASSERT_FALSE(::testing::Test::HasFailure()) << "crash " << crash << " made " << made;
  }
  const auto owner = site_.make_spool();
  Spool& spool = *owner;
  settle(spool);
  const std::uint64_t level = survey().level_bundles;
  EXPECT_GE(consumer.consume(1000000), level);
  EXPECT_GT(consumer.spent(), static_cast<std::size_t>(crashes));
}

}  // namespace
}  // namespace beaverpond::testing
