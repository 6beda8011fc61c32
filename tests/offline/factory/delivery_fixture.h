// A factory that publishes into a spool, and players whose pools are elsewhere.
#pragma once

#include <gtest/gtest.h>

#include "offline/factory/incoming.h"
#include "offline/factory/spool.h"
#include "tests/offline/factory/factory_fixture.h"

namespace beaverpond::testing {

/// The spool's folders, and a site of the players' pools for Consumer.
struct DeliverySite {
  TestSite factory;  // machine(player) is a folder of the spool
  TestSite players;

  PoolSetOptions spool_options() const { return factory.set_options(); }
  std::vector<std::string> spool_directories() const { return spool_options().directories; }
  std::unique_ptr<Spool> make_spool() const {
    auto spool = std::make_unique<Spool>(*factory.storage, spool_directories(),
                                         test_identity(0, factory.players));
    spool->add_lanes({test_key()});
    return spool;
  }
  IncomingOptions incoming_options(int player) const {
    IncomingOptions options;
    options.storage = players.storage;
    options.pool_directory = players.directory(player);
    options.identity = test_identity(player, players.players);
    Storage& storage = *players.storage;
    options.check = [&storage, options](const std::string& file,
                                        const LaneRange& what) -> Result<void> {
      BP_ASSIGN(const PoolKey key, PoolKey::read(storage, pool_key_path(options.pool_directory)));
      const SegmentAccess access{test_dealer().public_key(), &key, nullptr};
      return check_segment(storage, options.identity, access, file, what);
    };
    options.place = [&storage, pool = options.pool_directory](const std::string& file,
                                                              const LaneRange& what) {
      return place_segment(storage, pool, file, what);
    };
    return options;
  }
  std::size_t published(int player) const {
    const auto ranges = list_ranges(
        *players.storage, lane_directory(players.directory(player), test_key()), kSegmentSuffix);
    return ranges.ok() ? ranges->size() : 0;
  }
};

}  // namespace beaverpond::testing
