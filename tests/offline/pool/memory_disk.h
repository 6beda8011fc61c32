// A disk in memory that can lose power: what was not synced is dropped, file contents and folder
// entries alike. Operations can be counted, stopped at the n-th, or made to fail.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "offline/pool/storage.h"

namespace beaverpond::testing {

/// What a power loss leaves of unsynced writes.
enum class Loss {
  kDropAll,      ///< nothing
  kTornSectors,  ///< any of their sectors of 512 bytes, in whatever order they were written
  kTornWords,    ///< of a ledger or ratchet any of their words of 8 bytes: worse than disks are
  kReordered,    ///< as kTornSectors, and any of the unsynced changes of folders too
};

/// One disk for all players: a path belongs to the machine named by its first folder ("/m0/...").
class MemoryDisk final : public Storage {
 public:
  /// The page cache and the platter. What is not dirty and differs is lost: a sync failed, and the
  /// kernel forgot about the page.
  struct Inode {
    std::vector<std::uint8_t> now;
    std::vector<std::uint8_t> durable;
    std::vector<bool> dirty;  ///< by page; beyond its end: clean
    void mark(std::size_t offset, std::size_t size);
    void sync();
  };
  struct Entry {
    bool is_directory = false;
    std::uint64_t birth = 0;  // of a folder; no two have the same
    std::shared_ptr<Inode> inode;
    std::shared_ptr<bool> locked;
  };
  using Tree = std::map<std::string, Entry>;

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

  /// Power loss of one machine: its locks fall, its unsynced data goes, its open files are dead.
  void crash(const std::string& machine, Loss loss, std::uint64_t random_seed = 1);
  /// The process dies but the machine stays up: locks fall, data stays. Does nothing to files.
  void restart(const std::string& machine);

  /// All operations of `machine` from the n-th on (counted from now, 0 is the next) fail.
  void stop_after(const std::string& machine, std::uint64_t n);
  /// Mutating operations and reads of `machine` so far.
  std::uint64_t operations(const std::string& machine);
  /// The n-th write or create of `machine` from now on fails once with kNoSpace.
  void refuse_write(const std::string& machine, std::uint64_t n);
  /// The n-th sync from now on fails once, and what it should have written is dropped for good.
  void fail_sync(const std::string& machine, std::uint64_t n);
  /// Called before every sync of a file, on the thread that syncs; it may wait. Empty: nothing.
  void before_sync(std::function<void(const std::string& path)> call) {
    before_sync_ = std::move(call);
  }
  /// The n-th read from now on fails once with kIo.
  void fail_read(const std::string& machine, std::uint64_t n);
  /// Flips one bit of a file, on the platter and in the cache. The file has that byte.
  void rot(const std::string& path, std::size_t offset, int bit);
  /// Everything that is on the platter of a machine, and how to put it back (after its crash).
  using Snapshot = Tree;
  Snapshot save(const std::string& machine);
  void restore(const std::string& machine, const Snapshot& snapshot);
  /// Whether `path` exists cannot be told from now on: exists() gives an error. Empty: it can.
  void hide(std::string path) { hidden_ = std::move(path); }

  /// Mutants. kSkipSync: syncs report success and do nothing. kLateSync: a file's sync takes
  /// effect only at the machine's next write, as if DURABLE were sent before the sync.
  enum class Mutant { kNone, kSkipSync, kLateSync };
  void plant(Mutant mutant) { mutant_ = mutant; }

  void set_free_bytes(std::uint64_t bytes) {
    const std::lock_guard<std::mutex> guard(mutex_);
    free_bytes_ = bytes;
  }
  void set_mode(std::uint32_t mode) { mode_ = mode; }
  void set_file_mode(std::uint32_t mode) { file_mode_ = mode; }
  /// Direct access for tests that damage a file.
  std::vector<std::uint8_t>& content(const std::string& path);
  std::vector<std::string> files(const std::string& prefix);

 private:
  friend class MemoryFile;
  struct Machine {
    std::uint64_t operations = 0;
    std::uint64_t generation = 0;  // open files of an older one are dead
    std::uint64_t stop_at = ~std::uint64_t{0};
    std::uint64_t writes_to_refusal = ~std::uint64_t{0};
    std::uint64_t syncs_to_failure = ~std::uint64_t{0};
    std::uint64_t reads_to_failure = ~std::uint64_t{0};
    std::vector<std::shared_ptr<Inode>> late;  // syncs of kLateSync not yet done
  };
  Machine& machine_of(const std::string& path);
  Result<void> step(const std::string& path);
  Result<void> before_write(const std::string& path);
  Result<void> sync_inode(const std::string& path, const std::shared_ptr<Inode>& inode);

  std::mutex mutex_;
  std::map<std::string, Machine> machines_;
  Tree now_;
  Tree durable_;
  Mutant mutant_ = Mutant::kNone;
  std::uint64_t free_bytes_ = std::uint64_t{1} << 40;
  std::uint32_t mode_ = 0700;
  std::uint32_t file_mode_ = 0400;
  std::uint64_t births_ = 0;
  std::string hidden_;
  std::function<void(const std::string& path)> before_sync_;
};

}  // namespace beaverpond::testing
