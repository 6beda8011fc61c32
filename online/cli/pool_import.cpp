#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "offline/pool/import.h"
#include "offline/pool/pool_key.h"
#include "offline/pool/posix_storage.h"
#include "online/cli/commands.h"
#include "online/player/home_pool.h"

namespace beaverpond {
namespace {

/// The files given, and in the folders given those of player `rank`, each folder's in order of
/// number: one medium may serve all players.
Result<std::vector<std::string>> segments_of(Storage& storage,
                                             const std::vector<std::string>& given, int rank) {
  std::vector<std::string> files;
  for (const std::string& path : given) {
    std::error_code ignored;
    if (!std::filesystem::is_directory(path, ignored)) {
      files.push_back(path);
      continue;
    }
    BP_ASSIGN(const auto entries, storage.list(path));
    std::vector<std::pair<std::uint64_t, std::string>> found;
    for (const StorageEntry& entry : entries) {
      if (entry.is_directory || !entry.name.ends_with(kSegmentSuffix)) continue;
      const std::string file = path + "/" + entry.name;
      BP_ASSIGN(const auto opened, storage.open(file, Storage::Mode::kRead));
      BP_ASSIGN(const SegmentHeader header, read_segment_header(*opened, file));
      if (header.pool.player == rank) found.emplace_back(header.range.first, file);
    }
    std::sort(found.begin(), found.end());
    for (auto& [first, file] : found) files.push_back(std::move(file));
  }
  if (!files.empty()) return files;
  return make_error(ErrorCode::kConfig,
                    "there is no segment of player " + std::to_string(rank) +
                        " in what was given; give files that `triple-factory export` wrote, or "
                        "their folder");
}

}  // namespace

Result<void> run_pool_import(const PoolImportOptions& options) {
  const Home home{options.home};
  BP_ASSIGN(const Roster roster, read_roster_file(home.roster_path()));
  BP_ASSIGN(const int rank, rank_of_home(home, roster));
  PosixStorage storage;
  BP_ASSIGN(const std::vector<std::string> files, segments_of(storage, options.files, rank));
  const PoolOptions pool = home_pool_options(home, roster, rank, storage);
  BP_ASSIGN(const PoolKey key, read_roster_key(pool));
  BP_TRY(ensure_pool_directory(storage, pool.directory));
  // One that brings segments at a time; the engine may run.
  BP_ASSIGN(const auto lock, storage.lock(pool.directory + "/factory.lock"));
  BP_TRY(check_identity(storage, pool.directory, pool.identity, PoolUser::kFactory));
  DeliveryOptions delivery;
  delivery.storage = &storage;
  delivery.pool_directory = pool.directory;
  delivery.identity = pool.identity;
  delivery.dealer = roster.dealer_key;
  delivery.key = &key;
  // A file of an earlier journey that is still on the medium does not keep the others out.
  Result<void> outcome;
  for (const std::string& file : files) {
    const auto range = deliver_segment_blocking(delivery, file);
    if (range.ok()) {
      std::printf("imported %s: bundles %s\n", file.c_str(), range->str().c_str());
      continue;
    }
    if (range.error().code != ErrorCode::kPoolCorrupt &&
        range.error().code != ErrorCode::kRosterMismatch) {
      return range.error();
    }
    std::printf("refused %s\n", file.c_str());
    if (outcome.ok()) outcome = range.error();
  }
  return outcome;
}

}  // namespace beaverpond
