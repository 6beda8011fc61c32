// The program triple-factory, without its command line.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

struct FactoryArguments {
  bool serve = false;  ///< otherwise make
  std::string plan_path;
  std::string roster_path;
  std::vector<std::string> pool_directories;  ///< by player
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

/// Runs to the end, or until `stop` is set; reports on standard output. Errors: those of Factory,
/// kConfig for files that do not parse and pools that do not match the roster.
Result<void> run_factory(const FactoryArguments& arguments, const std::atomic<bool>& stop);

}  // namespace beaverpond
