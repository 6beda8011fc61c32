// The storage of one simulated process: a point where it may stop before every operation, and the
// mistakes that a pool could make, planted between the pool and the disk.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "offline/pool/storage.h"

namespace beaverpond::testing {

/// Mistakes of a pool that the simulation must catch.
enum class PoolMutant {
  kNone,
  kNoSync,      ///< the ledger is never synced
  kLateSync,    ///< the ledger is synced some operations later: DURABLE is sent before
  kSingleSlot,  ///< the ledger has one slot instead of two
  kNoChecksum,  ///< whatever a slot of the ledger holds is believed
};

class SimStorage final : public Storage {
 public:
  /// `alive` is asked before every operation; once it says no, all fail. `inner` outlives this.
  SimStorage(Storage& inner, std::function<bool()> alive, PoolMutant mutant = PoolMutant::kNone)
      : inner_(inner), alive_(std::move(alive)), mutant_(mutant) {}
  ~SimStorage() override;

  /// Whether a ledger was written and not synced yet.
  bool is_writing_ledger() const { return unsynced_ledgers_ > 0; }

  Result<std::unique_ptr<StorageFile>> open(const std::string& path, Mode mode) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<bool> rename_new(const std::string& from, const std::string& to) override;
  Result<void> unlink(const std::string& path) override;
  Result<std::vector<StorageEntry>> list(const std::string& directory) override;
  Result<bool> exists(const std::string& path) override;
  Result<void> make_directory(const std::string& path) override;
  Result<void> sync_directory(const std::string& directory) override;
  Result<std::uint32_t> directory_mode(const std::string& directory) override;
  Result<std::uint32_t> file_mode(const std::string& path) override;
  Result<FolderBirth> folder_birth(const std::string& directory) override;
  Result<std::unique_ptr<StorageLock>> lock(const std::string& path) override;
  Result<std::uint64_t> free_bytes(const std::string& directory) override;

 private:
  friend class SimFile;
  Result<void> step();

  Storage& inner_;
  std::function<bool()> alive_;
  PoolMutant mutant_;
  std::vector<std::shared_ptr<StorageFile>> late_;  ///< to be synced by kLateSync
  std::uint64_t steps_ = 0;
  int unsynced_ledgers_ = 0;
};

}  // namespace beaverpond::testing
