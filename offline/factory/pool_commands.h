// The commands of triple-factory that look after pools and keys instead of filling them.
#pragma once

#include <string>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

struct PoolCommandArguments {
  std::string roster_path;
  std::vector<std::string> pool_directories;  ///< any players', in any order
  std::vector<std::string> files;             ///< inspect
  std::string home;                           ///< keygen: folder of dealer.pem
  std::string host;    ///< keygen: where players pull from; prints the roster's lines and no others
  std::string spool;   ///< export: pool folder that no engine uses
  std::string medium;  ///< export: folder that is carried away
  bool json = false;
};

/// Makes HOME/dealer.pem, which signs, and HOME/key.pem and cert.pem for delivery, and prints the
/// beginning of a roster. Never replaces a key. Errors: kConfig (there is one), kIo.
Result<void> run_dealer_keygen(const PoolCommandArguments& arguments);
/// Prints what segments say about themselves; needs no key. Errors: kPoolCorrupt, kIo.
Result<void> run_inspect(const PoolCommandArguments& arguments);
/// Errors: kPoolCorrupt if anything is damaged; those of verify_pool_blocking().
Result<void> run_verify(const PoolCommandArguments& arguments);
/// Errors: kPoolCorrupt if something is left that no tool may repair; those of
/// repair_pool_blocking().
Result<void> run_repair(const PoolCommandArguments& arguments);

/// Moves what a spool holds for its player to a medium. Errors: those of
/// export_segments_blocking().
Result<void> run_export(const PoolCommandArguments& arguments);

}  // namespace beaverpond
