// Fresh seeds and set ids.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "beaverpond/seed.h"
#include "offline/pool/layout.h"
#include "offline/pool/random.h"

namespace beaverpond {

/// Each seed is SHA-256 over 32 new bytes of the system's generator and everything that may differ
/// between two machines whose generators are in the same state (a cloned virtual machine): boot
/// id, clocks, process, set id, counter and player. One thread.
class SeedMaker {
 public:
  explicit SeedMaker(EntropySource entropy);

  Result<SetId> make_set_id();
  /// Errors: kIo.
  Result<Seed> make_seed(const SetId& set_id, int player);
  /// seeds[player][bundle].
  Result<std::vector<std::vector<Seed>>> make_seeds(const SetId& set_id, int players,
                                                    std::uint64_t bundles);

 private:
  Result<Seed> draw(const char* purpose, std::span<const std::uint8_t> context);

  EntropySource entropy_;
  std::string boot_id_;
  std::uint64_t counter_ = 0;
};

}  // namespace beaverpond
