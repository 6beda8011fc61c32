// The seam for files. All file I/O of the pool and the factory goes through it, so that a test can
// put a simulated disk behind it: unsynced writes dropped, torn or refused.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

/// An open file. Closed by its destructor, which never fails and never syncs.
class StorageFile {
 public:
  virtual ~StorageFile() = default;

  /// Reads until `bytes` is full or the file ends; returns how many bytes were read.
  virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> bytes) = 0;
  /// Writes all of `bytes`, extending the file where needed. Not durable before sync().
  virtual Result<void> write_at(std::uint64_t offset, std::span<const std::uint8_t> bytes) = 0;
  /// A hint for a file that is written once and not read soon: whole blocks of 4096 bytes that are
  /// written from memory aligned to as much may go past the page cache. Changes nothing else.
  virtual void bypass_cache() {}
  /// A hint: these bytes stay as they are, the disk may begin with them, so that sync() waits less.
  /// Promises nothing; sync() reports what fails.
  virtual void start_writeback(std::uint64_t /*offset*/, std::uint64_t /*size*/) {}
  /// Makes the content durable (fdatasync). After an error the content on disk is unknown, and a
  /// second call may report success for data that was dropped: never retry, drop the file.
  virtual Result<void> sync() = 0;
  virtual Result<std::uint64_t> size() = 0;
};

/// An exclusive lock, released by its destructor or by the end of the process.
class StorageLock {
 public:
  virtual ~StorageLock() = default;
};

struct StorageEntry {
  std::string name;
  bool is_directory = false;
  std::uint64_t size_bytes = 0;
};

using FolderBirth = std::array<std::uint8_t, 16>;

/// Errors of every call: kIo, or kNoSpace where the disk or the quota is full; the message names
/// the path and what the operating system said. Threads: all calls may run at once.
class Storage {
 public:
  enum class Mode : std::uint8_t {
    kRead,       ///< the file must exist
    kReadWrite,  ///< the file must exist
    kCreateNew,  ///< the file must not exist; mode 0600
  };

  virtual ~Storage() = default;

  virtual Result<std::unique_ptr<StorageFile>> open(const std::string& path, Mode mode) = 0;
  /// Replaces `to` atomically. Durable after sync_directory() of the folder.
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  /// Renames atomically, but replaces nothing: false, and `from` stays, where `to` exists.
  virtual Result<bool> rename_new(const std::string& from, const std::string& to) = 0;
  virtual Result<void> unlink(const std::string& path) = 0;
  /// Entries of a folder, without "." and "..", in no order.
  virtual Result<std::vector<StorageEntry>> list(const std::string& directory) = 0;
  /// False only where the system says that there is no such file; anything else is an error.
  virtual Result<bool> exists(const std::string& path) = 0;
  /// Creates one folder with mode 0700; no error if it exists already.
  virtual Result<void> make_directory(const std::string& path) = 0;
  /// Makes creations, renames and removals in the folder durable.
  virtual Result<void> sync_directory(const std::string& directory) = 0;
  /// Permission bits of a folder that belongs to this user. kIo if it belongs to another.
  virtual Result<std::uint32_t> directory_mode(const std::string& directory) = 0;
  /// Permission bits of a regular file that belongs to this user. kIo if it belongs to another.
  virtual Result<std::uint32_t> file_mode(const std::string& path) = 0;
  /// What a copy of a folder does not share with it, and a renamed folder keeps: inode and time of
  /// birth.
  virtual Result<FolderBirth> folder_birth(const std::string& directory) = 0;
  /// Takes the lock without waiting. kPoolBusy: another open file holds it. kConfig: locks do not
  /// exclude each other on this file system, or cannot be trusted to, since it is a network's.
  virtual Result<std::unique_ptr<StorageLock>> lock(const std::string& path) = 0;
  /// Bytes that this user may still write to the disk under `directory`.
  virtual Result<std::uint64_t> free_bytes(const std::string& directory) = 0;
};

}  // namespace beaverpond
