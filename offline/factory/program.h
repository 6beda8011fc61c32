// The program triple-factory, without its command line.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "beaverpond/result.h"
#include "offline/factory/config.h"

namespace beaverpond {

struct FactoryArguments {
  FactoryConfig config;       ///< from flags, with one class
  std::string config_path;    ///< serve: a file instead of the flags
  std::uint64_t bundles = 0;  ///< make
  bool json = false;
};

/// Set by signals.
struct FactorySignals {
  const std::atomic<bool>& stop;   ///< end now; what is being made is dropped
  const std::atomic<bool>& drain;  ///< serve: end when the segment being made is published
  std::atomic<bool>& reload;       ///< serve: read the configuration again; cleared when done
};

/// Runs to the end, or until it is stopped; reports on standard output. Errors: those of Factory,
/// kConfig for files that do not parse and pools that do not match the roster.
Result<void> run_make(const FactoryArguments& arguments, const FactorySignals& signals);

/// The same for Service. Stopped or drained is success.
Result<void> run_serve(const FactoryArguments& arguments, const FactorySignals& signals);

struct PullArguments {
  std::string home;  ///< key.pem, cert.pem, roster.toml and pool/ of one player
  bool json = false;
};

/// A player fetches its segments until it is stopped, which is success. Errors: those of Puller,
/// kConfig (a home or a roster that does not serve), kRosterMismatch (the home's certificate is not
/// in its roster).
Result<void> run_pull(const PullArguments& arguments, const FactorySignals& signals);

/// Prints what a running factory says of itself. Errors: those of fetch_blocking().
Result<void> run_status(const ListenAddress& address, bool json);

}  // namespace beaverpond
