// `triple-factory profile`: what dealing a plan takes on this machine, by plan entry.
#pragma once

#include <cstdint>
#include <string>

#include "beaverpond/result.h"

namespace beaverpond {

struct ProfileArguments {
  std::string plan_path;
  std::string device = "auto";  ///< as make_backend() takes it
  int players = 2;
  std::uint64_t bundles = 3;  ///< dealt in memory and dropped, after one that is not timed
  bool full = false;          ///< a line per entry instead of one per kind
  bool json = false;
};

/// Deals on one thread and reports on standard output. Touches no pool. Errors: kConfig, kIo,
/// kOutOfMemory, kDeviceFailed.
Result<void> run_profile(const ProfileArguments& arguments);

}  // namespace beaverpond
