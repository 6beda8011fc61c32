// Storage on the operating system's files.
#pragma once

#include "offline/pool/storage.h"

namespace beaverpond {

/// Holds no state; files are opened close-on-exec.
class PosixStorage final : public Storage {
 public:
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
};

/// The name of a file system whose locks one host cannot vouch for, from the type that statfs(2)
/// gives; null for all others.
const char* network_file_system(std::uint32_t type);

}  // namespace beaverpond
