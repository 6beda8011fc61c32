#include "tests/online/session/sim/sim_storage.h"

#include <algorithm>

#include "offline/pool/block.h"

namespace beaverpond::testing {

class SimFile final : public StorageFile {
 public:
  SimFile(SimStorage& storage, std::shared_ptr<StorageFile> inner, bool is_ledger)
      : storage_(storage),
        inner_(std::move(inner)),
        is_ledger_(is_ledger),
        mutant_(is_ledger ? storage.mutant_ : PoolMutant::kNone) {}
  ~SimFile() override { mark(false); }

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> bytes) override {
    BP_TRY(storage_.step());
    BP_ASSIGN(const std::size_t read, inner_->read_at(place(offset), bytes));
    if (mutant_ == PoolMutant::kNoChecksum && read == kBlockSize) {
      Block block;
      std::copy(bytes.begin(), bytes.end(), block.begin());
      seal_block(block);
      std::copy(block.begin(), block.end(), bytes.begin());
    }
    return read;
  }
  Result<void> write_at(std::uint64_t offset, std::span<const std::uint8_t> bytes) override {
    BP_TRY(storage_.step());
    mark(is_ledger_);
    return inner_->write_at(place(offset), bytes);
  }
  Result<void> sync() override {
    BP_TRY(storage_.step());
    mark(false);
    if (mutant_ == PoolMutant::kLateSync) storage_.late_.push_back(inner_);
    if (mutant_ == PoolMutant::kLateSync || mutant_ == PoolMutant::kNoSync) return {};
    return inner_->sync();
  }
  Result<std::uint64_t> size() override {
    BP_TRY(storage_.step());
    return inner_->size();
  }

 private:
  void mark(bool unsynced) {
    storage_.unsynced_ledgers_ += int{unsynced} - int{unsynced_};
    unsynced_ = unsynced;
  }
  std::uint64_t place(std::uint64_t offset) const {
    return mutant_ == PoolMutant::kSingleSlot ? offset % kBlockSize : offset;
  }

  SimStorage& storage_;
  std::shared_ptr<StorageFile> inner_;
  bool is_ledger_;
  bool unsynced_ = false;
  PoolMutant mutant_;
};

SimStorage::~SimStorage() {
  // A process that ends by itself leaves its writes to the kernel, which syncs them in the end.
  if (!late_.empty() && alive_()) {
    for (const auto& file : late_) (void)file->sync();
  }
}

Result<void> SimStorage::step() {
  const bool alive = alive_();
  if (alive && ++steps_ % 3 == 0) {
    for (const auto& file : late_) (void)file->sync();
    late_.clear();
  }
  if (alive) return {};
  return make_error(ErrorCode::kIo, "the process is dead");
}

Result<std::unique_ptr<StorageFile>> SimStorage::open(const std::string& path, Mode mode) {
  BP_TRY(step());
  BP_ASSIGN(auto file, inner_.open(path, mode));
  return std::unique_ptr<StorageFile>(
      std::make_unique<SimFile>(*this, std::move(file), path.ends_with("/ledger")));
}

Result<void> SimStorage::rename(const std::string& from, const std::string& to) {
  BP_TRY(step());
  return inner_.rename(from, to);
}

Result<bool> SimStorage::rename_new(const std::string& from, const std::string& to) {
  BP_TRY(step());
  return inner_.rename_new(from, to);
}

Result<void> SimStorage::unlink(const std::string& path) {
  BP_TRY(step());
  return inner_.unlink(path);
}

Result<std::vector<StorageEntry>> SimStorage::list(const std::string& directory) {
  BP_TRY(step());
  return inner_.list(directory);
}

Result<bool> SimStorage::exists(const std::string& path) {
  BP_TRY(step());
  return inner_.exists(path);
}

Result<void> SimStorage::make_directory(const std::string& path) {
  BP_TRY(step());
  return inner_.make_directory(path);
}

Result<void> SimStorage::sync_directory(const std::string& directory) {
  BP_TRY(step());
  return inner_.sync_directory(directory);
}

Result<std::uint32_t> SimStorage::directory_mode(const std::string& directory) {
  BP_TRY(step());
  return inner_.directory_mode(directory);
}

Result<std::uint32_t> SimStorage::file_mode(const std::string& path) {
  BP_TRY(step());
  return inner_.file_mode(path);
}

Result<FolderBirth> SimStorage::folder_birth(const std::string& directory) {
  BP_TRY(step());
  return inner_.folder_birth(directory);
}

Result<std::unique_ptr<StorageLock>> SimStorage::lock(const std::string& path) {
  BP_TRY(step());
  return inner_.lock(path);
}

Result<std::uint64_t> SimStorage::free_bytes(const std::string& directory) {
  BP_TRY(step());
  return inner_.free_bytes(directory);
}

}  // namespace beaverpond::testing
