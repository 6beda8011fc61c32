#include <cstdio>

#include "offline/pool/identity.h"
#include "offline/pool/posix_storage.h"
#include "offline/pool/roster_identity.h"
#include "online/cli/commands.h"

namespace beaverpond {

Result<void> run_epoch(const EpochOptions& options) {
  const Home home{options.home};
  BP_ASSIGN(Roster roster, read_roster_file(home.roster_path()));
  if (options.to < roster.epoch) {
    return make_error(ErrorCode::kConfig, "--to " + std::to_string(options.to) + ": " +
                                              home.roster_path() + " is in epoch " +
                                              std::to_string(roster.epoch) +
                                              " already, and epochs only rise; give a later one");
  }
  BP_ASSIGN(const int rank, rank_of_home(home, roster));
  roster.epoch = options.to;
  PosixStorage storage;
  // The pool first: until the roster follows, nobody can use it.
  const PoolIdentity identity = pool_identity(roster, rank);
  BP_TRY(start_epoch_blocking(storage, home.pool_path(), identity));
  BP_TRY(write_roster_file(home.roster_path(), roster));
  std::printf(
      "%s is in membership epoch %llu: roster %s, empty pool. Run the same on every player "
      "before the next job, and give the new roster to triple-factory.\n",
      home.directory.c_str(), static_cast<unsigned long long>(roster.epoch),
      to_hex(std::span(identity.roster_hash).first(8)).c_str());
  return {};
}

}  // namespace beaverpond
