#include "tests/offline/pool/memory_disk.h"

#include <algorithm>
#include <random>

namespace beaverpond::testing {
namespace {

constexpr std::size_t kSector = 512;
constexpr std::size_t kWord = 8;
constexpr std::size_t kPage = 4096;

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string machine_name(const std::string& path) {
  const std::size_t slash = path.find('/', 1);
  return path.substr(0, slash);
}

bool below(const std::string& path, const std::string& prefix) {
  return path.size() > prefix.size() && path.compare(0, prefix.size(), prefix) == 0 &&
         path[prefix.size()] == '/';
}

Error failure(const std::string& what, const std::string& path) {
  return make_error(ErrorCode::kIo, what + " " + path);
}

class MemoryLock final : public StorageLock {
 public:
  explicit MemoryLock(std::shared_ptr<bool> locked) : locked_(std::move(locked)) {}
  ~MemoryLock() override { *locked_ = false; }

 private:
  std::shared_ptr<bool> locked_;
};

}  // namespace

class MemoryFile final : public StorageFile {
 public:
  MemoryFile(MemoryDisk* disk, std::string path, std::shared_ptr<MemoryDisk::Inode> inode,
             std::uint64_t generation)
      : disk_(disk), path_(std::move(path)), inode_(std::move(inode)), generation_(generation) {}

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> bytes) override {
    const std::lock_guard<std::mutex> guard(disk_->mutex_);
    BP_TRY(step());
    MemoryDisk::Machine& machine = disk_->machine_of(path_);
    if (machine.reads_to_failure != ~std::uint64_t{0} && machine.reads_to_failure-- == 0) {
      return failure("EIO on", path_);
    }
    if (offset >= inode_->now.size()) return std::size_t{0};
    const std::size_t n = std::min<std::size_t>(bytes.size(), inode_->now.size() - offset);
    std::copy_n(inode_->now.begin() + static_cast<std::ptrdiff_t>(offset), n, bytes.begin());
    return n;
  }

  Result<void> write_at(std::uint64_t offset, std::span<const std::uint8_t> bytes) override {
    const std::lock_guard<std::mutex> guard(disk_->mutex_);
    BP_TRY(step());
    BP_TRY(disk_->before_write(path_));
    if (inode_->now.size() < offset + bytes.size()) inode_->now.resize(offset + bytes.size());
    std::copy(bytes.begin(), bytes.end(),
              inode_->now.begin() + static_cast<std::ptrdiff_t>(offset));
    inode_->mark(offset, bytes.size());
    return {};
  }

  Result<void> sync() override {
    if (disk_->before_sync_) disk_->before_sync_(path_);
    const std::lock_guard<std::mutex> guard(disk_->mutex_);
    BP_TRY(step());
    return disk_->sync_inode(path_, inode_);
  }

  Result<std::uint64_t> size() override {
    const std::lock_guard<std::mutex> guard(disk_->mutex_);
    BP_TRY(step());
    return std::uint64_t{inode_->now.size()};
  }

 private:
  Result<void> step() {
    if (disk_->machine_of(path_).generation != generation_) return failure("dead file", path_);
    return disk_->step(path_);
  }

  MemoryDisk* disk_;
  std::string path_;
  std::shared_ptr<MemoryDisk::Inode> inode_;
  std::uint64_t generation_;
};

void MemoryDisk::Inode::mark(std::size_t offset, std::size_t size) {
  const std::size_t end = (offset + size + kPage - 1) / kPage;
  if (dirty.size() < end) dirty.resize(end);
  for (std::size_t page = offset / kPage; page < end; ++page) dirty[page] = true;
}

void MemoryDisk::Inode::sync() {
  durable.resize(now.size());
  for (std::size_t page = 0; page < dirty.size(); ++page) {
    if (!dirty[page]) continue;
    const auto begin = static_cast<std::ptrdiff_t>(page * kPage);
    const auto end = static_cast<std::ptrdiff_t>(std::min((page + 1) * kPage, now.size()));
    std::copy(now.begin() + begin, now.begin() + end, durable.begin() + begin);
  }
  dirty.clear();
}

MemoryDisk::Machine& MemoryDisk::machine_of(const std::string& path) {
  return machines_[machine_name(path)];
}

Result<void> MemoryDisk::step(const std::string& path) {
  Machine& machine = machine_of(path);
  if (machine.operations >= machine.stop_at) return failure("power is lost", path);
  ++machine.operations;
  return {};
}

Result<void> MemoryDisk::before_write(const std::string& path) {
  Machine& machine = machine_of(path);
  for (const auto& inode : machine.late) inode->sync();
  machine.late.clear();
  if (machine.writes_to_refusal != ~std::uint64_t{0} && machine.writes_to_refusal-- == 0) {
    return make_error(ErrorCode::kNoSpace, "disk full " + path);
  }
  return {};
}

Result<void> MemoryDisk::sync_inode(const std::string& path, const std::shared_ptr<Inode>& inode) {
  Machine& machine = machine_of(path);
  if (machine.syncs_to_failure != ~std::uint64_t{0} && machine.syncs_to_failure-- == 0) {
    inode->dirty.clear();  // the cache keeps the pages, but nobody will write them any more
    return failure("EIO on sync of", path);
  }
  if (mutant_ == Mutant::kNone) inode->sync();
  if (mutant_ == Mutant::kLateSync) machine.late.push_back(inode);
  return {};
}

Result<std::unique_ptr<StorageFile>> MemoryDisk::open(const std::string& path, Mode mode) {
  const std::lock_guard<std::mutex> guard(mutex_);
  BP_TRY(step(path));
  const bool present = now_.contains(path);
  if (mode == Mode::kCreateNew) {
    if (present) return failure("exists already:", path);
    if (!now_.contains(parent_of(path))) return failure("no folder for", path);
    BP_TRY(before_write(path));
    now_[path].inode = std::make_shared<Inode>();
  } else if (!present) {
    return failure("no such file:", path);
  }
  return std::unique_ptr<StorageFile>(
      std::make_unique<MemoryFile>(this, path, now_[path].inode, machine_of(path).generation));
}

Result<void> MemoryDisk::rename(const std::string& from, const std::string& to) {
  const std::lock_guard<std::mutex> guard(mutex_);
  BP_TRY(step(from));
  if (!now_.contains(from)) return failure("no such file:", from);
  now_[to] = now_[from];
  now_.erase(from);
  return {};
}

Result<bool> MemoryDisk::rename_new(const std::string& from, const std::string& to) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (now_.contains(to)) {
      BP_TRY(step(from));
      return false;
    }
  }
  BP_TRY(rename(from, to));
  return true;
}

Result<void> MemoryDisk::unlink(const std::string& path) {
  const std::lock_guard<std::mutex> guard(mutex_);
  BP_TRY(step(path));
  if (now_.erase(path) == 0) return failure("no such file:", path);
  return {};
}

Result<std::vector<StorageEntry>> MemoryDisk::list(const std::string& directory) {
  const std::lock_guard<std::mutex> guard(mutex_);
  BP_TRY(step(directory));
  if (!now_.contains(directory)) return failure("no such folder:", directory);
  std::vector<StorageEntry> entries;
  for (const auto& [path, entry] : now_) {
    if (!below(path, directory) || parent_of(path) != directory) continue;
    const std::uint64_t size = entry.inode == nullptr ? 0 : entry.inode->now.size();
    entries.push_back({path.substr(directory.size() + 1), entry.is_directory, size});
  }
  return entries;
}

Result<bool> MemoryDisk::exists(const std::string& path) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (path == hidden_) return failure("EIO on", path);
  return now_.contains(path);
}

Result<void> MemoryDisk::make_directory(const std::string& path) {
  const std::lock_guard<std::mutex> guard(mutex_);
  BP_TRY(step(path));
  if (now_.contains(path)) return {};
  now_[path].is_directory = true;
  now_[path].birth = ++births_;
  // The machine itself needs no sync.
  if (machine_name(path) == path) durable_[path] = now_[path];
  return {};
}

Result<void> MemoryDisk::sync_directory(const std::string& directory) {
  const std::lock_guard<std::mutex> guard(mutex_);
  BP_TRY(step(directory));
  if (directory == "/") return {};
  Machine& machine = machine_of(directory);
  if (machine.syncs_to_failure != ~std::uint64_t{0} && machine.syncs_to_failure-- == 0) {
    return failure("EIO on sync of", directory);
  }
  if (mutant_ == Mutant::kSkipSync) return {};
  std::erase_if(durable_, [&](const auto& item) {
    return parent_of(item.first) == directory && !now_.contains(item.first);
  });
  for (const auto& [path, entry] : now_) {
    if (parent_of(path) == directory) durable_[path] = entry;
  }
  return {};
}

Result<std::uint32_t> MemoryDisk::directory_mode(const std::string& directory) {
  const std::lock_guard<std::mutex> guard(mutex_);
  BP_TRY(step(directory));
  return mode_;
}

Result<std::uint32_t> MemoryDisk::file_mode(const std::string& path) {
  const std::lock_guard<std::mutex> guard(mutex_);
  BP_TRY(step(path));
  if (!now_.contains(path)) return failure("no such file:", path);
  return file_mode_;
}

Result<FolderBirth> MemoryDisk::folder_birth(const std::string& directory) {
  const std::lock_guard<std::mutex> guard(mutex_);
  BP_TRY(step(directory));
  if (!now_.contains(directory)) return failure("no such folder:", directory);
  FolderBirth birth{};
  for (std::size_t i = 0; i < 8; ++i) {
    birth[i] = static_cast<std::uint8_t>(now_[directory].birth >> (8 * i));
  }
  return birth;
}

Result<std::unique_ptr<StorageLock>> MemoryDisk::lock(const std::string& path) {
  const std::lock_guard<std::mutex> guard(mutex_);
  BP_TRY(step(path));
  Entry& entry = now_[path];
  if (entry.inode == nullptr) entry.inode = std::make_shared<Inode>();
  if (entry.locked != nullptr && *entry.locked) {
    return make_error(ErrorCode::kPoolBusy, "another process holds the lock " + path);
  }
  entry.locked = std::make_shared<bool>(true);
  return std::unique_ptr<StorageLock>(std::make_unique<MemoryLock>(entry.locked));
}

Result<std::uint64_t> MemoryDisk::free_bytes(const std::string& directory) {
  const std::lock_guard<std::mutex> guard(mutex_);
  BP_TRY(step(directory));
  return free_bytes_;
}

void MemoryDisk::restart(const std::string& machine) {
  const std::lock_guard<std::mutex> guard(mutex_);
  Machine& state = machines_[machine];
  ++state.generation;
  state.stop_at = state.writes_to_refusal = ~std::uint64_t{0};
  state.syncs_to_failure = state.reads_to_failure = ~std::uint64_t{0};
  for (auto& [path, entry] : now_) {
    if (below(path, machine)) entry.locked = nullptr;
  }
}

namespace {

/// What is left of a file: what is durable, and pieces of what is dirty.
std::vector<std::uint8_t> left_of(const std::string& path, const MemoryDisk::Inode& inode,
                                  Loss loss, std::mt19937_64& random) {
  std::vector<std::uint8_t> left = inode.durable;
  if (loss == Loss::kDropAll) return left;
  // The key block of a segment relies on whole sectors, and its format says so.
  const bool slots = path.ends_with("/ledger") || path.ends_with("/keys");
  const std::size_t piece = loss == Loss::kTornWords && slots ? kWord : kSector;
  for (std::size_t page = 0; page < inode.dirty.size(); ++page) {
    if (!inode.dirty[page]) continue;
    const std::size_t page_end = std::min((page + 1) * kPage, inode.now.size());
    std::uint64_t coins = 0;
    for (std::size_t at = page * kPage, i = 0; at < page_end; at += piece, ++i) {
      if (i % 64 == 0) coins = random();
      if ((coins >> (i % 64) & 1) == 0) continue;
      const std::size_t end = std::min(at + piece, page_end);
      if (left.size() < end) left.resize(end);
      std::copy(inode.now.begin() + static_cast<std::ptrdiff_t>(at),
                inode.now.begin() + static_cast<std::ptrdiff_t>(end),
                left.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  return left;
}

}  // namespace

void MemoryDisk::crash(const std::string& machine, Loss loss, std::uint64_t random_seed) {
  restart(machine);
  const std::lock_guard<std::mutex> guard(mutex_);
  machines_[machine].late.clear();
  std::mt19937_64 random(random_seed);
  Tree before;
  std::erase_if(now_, [&](auto& item) {
    if (!below(item.first, machine)) return false;
    before.insert(item);
    return true;
  });
  Tree left;
  for (const auto& item : durable_) {
    if (below(item.first, machine)) left.insert(item);
  }
  if (loss == Loss::kReordered) {
    for (const auto& [path, entry] : before) {
      const auto old = left.find(path);
      if (old != left.end() && old->second.inode == entry.inode) continue;
      if (random() % 2 == 0) left[path] = entry;
    }
    std::erase_if(
        left, [&](const auto& item) { return !before.contains(item.first) && random() % 2 == 0; });
  }
  // In order of path, so that a folder comes before what is in it.
  for (const auto& [path, entry] : left) {
    if (!now_.contains(parent_of(path))) continue;
    now_[path] = entry;
    now_[path].locked = nullptr;
    if (entry.inode == nullptr) continue;
    const std::vector<std::uint8_t> bytes = left_of(path, *entry.inode, loss, random);
    // A new inode: files that died with the machine must not see or change it.
    now_[path].inode = std::make_shared<Inode>(Inode{bytes, bytes, {}});
  }
  std::erase_if(durable_, [&](const auto& item) { return below(item.first, machine); });
  for (auto& [path, entry] : now_) {
    if (below(path, machine)) durable_[path] = entry;
  }
}

void MemoryDisk::fail_read(const std::string& machine, std::uint64_t n) {
  const std::lock_guard<std::mutex> guard(mutex_);
  machines_[machine].reads_to_failure = n;
}

void MemoryDisk::rot(const std::string& path, std::size_t offset, int bit) {
  const std::lock_guard<std::mutex> guard(mutex_);
  Inode& inode = *now_.at(path).inode;
  inode.now.at(offset) ^= static_cast<std::uint8_t>(1 << bit);
  if (offset < inode.durable.size()) {
    inode.durable[offset] ^= static_cast<std::uint8_t>(1 << bit);
  }
}

namespace {

/// A copy that shares no file with the original.
void copy_below(const std::string& machine, const MemoryDisk::Tree& from, MemoryDisk::Tree& to) {
  for (const auto& [path, entry] : from) {
    if (!below(path, machine)) continue;
    MemoryDisk::Entry copy = entry;
    copy.locked = nullptr;
    if (entry.inode != nullptr) {
      const std::vector<std::uint8_t>& bytes = entry.inode->durable;
      copy.inode = std::make_shared<MemoryDisk::Inode>(MemoryDisk::Inode{bytes, bytes, {}});
    }
    to[path] = copy;
  }
}

}  // namespace

MemoryDisk::Snapshot MemoryDisk::save(const std::string& machine) {
  const std::lock_guard<std::mutex> guard(mutex_);
  Snapshot snapshot;
  copy_below(machine, durable_, snapshot);
  return snapshot;
}

void MemoryDisk::restore(const std::string& machine, const Snapshot& snapshot) {
  restart(machine);
  const std::lock_guard<std::mutex> guard(mutex_);
  for (Tree* tree : {&now_, &durable_}) {
    std::erase_if(*tree, [&](const auto& item) { return below(item.first, machine); });
  }
  copy_below(machine, snapshot, now_);
  for (auto& [path, entry] : now_) {
    if (below(path, machine)) durable_[path] = entry;
  }
}

void MemoryDisk::stop_after(const std::string& machine, std::uint64_t n) {
  const std::lock_guard<std::mutex> guard(mutex_);
  machines_[machine].stop_at = machines_[machine].operations + n;
}

std::uint64_t MemoryDisk::operations(const std::string& machine) {
  const std::lock_guard<std::mutex> guard(mutex_);
  return machines_[machine].operations;
}

void MemoryDisk::refuse_write(const std::string& machine, std::uint64_t n) {
  const std::lock_guard<std::mutex> guard(mutex_);
  machines_[machine].writes_to_refusal = n;
}

void MemoryDisk::fail_sync(const std::string& machine, std::uint64_t n) {
  const std::lock_guard<std::mutex> guard(mutex_);
  machines_[machine].syncs_to_failure = n;
}

std::vector<std::uint8_t>& MemoryDisk::content(const std::string& path) {
  const std::lock_guard<std::mutex> guard(mutex_);
  BP_CHECK(now_.contains(path) && now_[path].inode != nullptr, "no such file");
  return now_[path].inode->now;
}

std::vector<std::string> MemoryDisk::files(const std::string& prefix) {
  const std::lock_guard<std::mutex> guard(mutex_);
  std::vector<std::string> found;
  for (const auto& [path, entry] : now_) {
    if (below(path, prefix) && !entry.is_directory) found.push_back(path);
  }
  return found;
}

}  // namespace beaverpond::testing
