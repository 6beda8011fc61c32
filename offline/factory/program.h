// The program triple-factory, without its command line.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "offline/plan/roster.h"
#include "offline/pool/dealer_key.h"

namespace beaverpond {

struct FactoryArguments {
  bool serve = false;  ///< otherwise make
  std::string plan_path;
  std::string roster_path;
  std::vector<std::string> pool_directories;  ///< by player
  std::string dealer_key_path;                ///< empty: find_dealer_key()
  std::uint32_t lane = 0;
  std::uint64_t segment_bundles = 0;
  std::uint64_t bundles = 0;       ///< make
  std::uint64_t low = 0;           ///< serve
  std::uint64_t high = 0;          ///< serve
  std::uint64_t disk_budget = 0;   ///< bytes; 0: no limit
  std::uint64_t disk_reserve = 0;  ///< bytes
  int threads = 0;                 ///< 0: one per core
  bool json = false;
};

/// The dealer's key of a roster: dealer.pem beside it, or in the folder `dealer` beside the folder
/// that holds it, as `beaverpond keygen --all` leaves them. The first, if there is none.
std::string find_dealer_key(const std::string& roster_path);

/// Compared with the roster. Errors: kConfig, kRosterMismatch.
Result<DealerKey> read_dealer_key(const std::string& path, const Roster& roster);

/// Runs to the end, or until `stop` is set; reports on standard output. Errors: those of Factory,
/// kConfig for files that do not parse and pools that do not match the roster.
Result<void> run_factory(const FactoryArguments& arguments, const std::atomic<bool>& stop);

}  // namespace beaverpond
