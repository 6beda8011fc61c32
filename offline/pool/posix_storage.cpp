#include "offline/pool/posix_storage.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace beaverpond {
namespace {

Error os_error(const char* what, const std::string& path, int code) {
  const bool full = code == ENOSPC || code == EDQUOT;
  std::string message = std::string("cannot ") + what + " " + path + ": " + std::strerror(code);
  if (full) message += "; free some space on this disk or give the pool another one";
  if (code == EROFS) message += "; mount it writable, or choose a place that is";
  if (code == EACCES) message += "; it must belong to the user that runs this";
  if (code == EMFILE) message += "; raise the limit of open files (ulimit -n)";
  return make_error(full ? ErrorCode::kNoSpace : ErrorCode::kIo, std::move(message));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;             // one owner closes it
  Descriptor& operator=(const Descriptor&) = delete;  // one owner closes it
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_;
};

/// What direct writes are made of, in the file and in memory.
constexpr std::uint64_t kDirectBlock = 4096;

bool is_aligned(std::uint64_t offset, const std::uint8_t* data) {
  return offset % kDirectBlock == 0 && reinterpret_cast<std::uintptr_t>(data) % kDirectBlock == 0;
}

class PosixFile final : public StorageFile {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::uint8_t> bytes) override {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t n = ::pread(fd_.get(), bytes.data() + done, bytes.size() - done,
                                static_cast<off_t>(offset + done));
      if (n == 0) break;
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return os_error("read", path_, errno);
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  Result<void> write_at(std::uint64_t offset, std::span<const std::uint8_t> bytes) override {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const std::size_t left = bytes.size() - done;
      const std::size_t whole = left / kDirectBlock * kDirectBlock;
      const bool direct =
          direct_ != nullptr && whole != 0 && is_aligned(offset + done, bytes.data() + done);
      const ssize_t n = ::pwrite(direct ? direct_->get() : fd_.get(), bytes.data() + done,
                                 direct ? whole : left, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EINVAL && direct) {  // this disk has larger blocks
        direct_.reset();
        continue;
      }
      if (n < 0) return os_error("write", path_, errno);
      done += static_cast<std::size_t>(n);
    }
    return {};
  }

  void bypass_cache() override {
    // A second opening of the same file: what is not whole blocks goes through the first.
    const std::string self = "/proc/self/fd/" + std::to_string(fd_.get());
    const int fd = ::open(self.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC);
    if (fd >= 0) direct_ = std::make_unique<Descriptor>(fd);
  }

  void start_writeback(std::uint64_t offset, std::uint64_t size) override {
    // Does not wait, and takes no error away from the sync that follows.
    (void)::sync_file_range(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(size),
                            SYNC_FILE_RANGE_WRITE);
  }

  Result<void> sync() override {
    // Not repeated on EINTR either: what an interrupted sync left behind is unknown.
    if (::fdatasync(fd_.get()) != 0) return os_error("sync", path_, errno);
    return {};
  }

  Result<std::uint64_t> size() override {
    struct stat info {};
    if (::fstat(fd_.get(), &info) != 0) return os_error("examine", path_, errno);
    return static_cast<std::uint64_t>(info.st_size);
  }

 private:
  Descriptor fd_;
  std::unique_ptr<Descriptor> direct_;  // null: all writes go through the page cache
  std::string path_;
};

class PosixLock final : public StorageLock {
 public:
  explicit PosixLock(int fd) : fd_(fd) {}

 private:
  Descriptor fd_;
};

}  // namespace

Result<std::unique_ptr<StorageFile>> PosixStorage::open(const std::string& path, Mode mode) {
  int flags = O_CLOEXEC | O_NOFOLLOW;
  const char* what = "open";
  switch (mode) {
    case Mode::kRead: flags |= O_RDONLY; break;
    case Mode::kReadWrite: flags |= O_RDWR; break;
    case Mode::kCreateNew:
      flags |= O_RDWR | O_CREAT | O_EXCL;
      what = "create";
      break;
  }
  const int fd = ::open(path.c_str(), flags, 0600);
  if (fd < 0) return os_error(what, path, errno);
  return std::unique_ptr<StorageFile>(std::make_unique<PosixFile>(fd, path));
}

Result<void> PosixStorage::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return os_error("rename", from, errno);
  return {};
}

Result<bool> PosixStorage::rename_new(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno == EEXIST) return false;
  if (errno != EINVAL && errno != ENOSYS) return os_error("rename", from, errno);
  // Not on this file system: a link replaces nothing either.
  if (::link(from.c_str(), to.c_str()) != 0) {
    if (errno == EEXIST) return false;
    return os_error("rename", from, errno);
  }
  if (::unlink(from.c_str()) != 0) return os_error("remove", from, errno);
  return true;
}

Result<void> PosixStorage::unlink(const std::string& path) {
  if (::unlink(path.c_str()) != 0) return os_error("remove", path, errno);
  return {};
}

Result<std::vector<StorageEntry>> PosixStorage::list(const std::string& directory) {
  DIR* const handle = ::opendir(directory.c_str());
  if (handle == nullptr) return os_error("list", directory, errno);
  std::vector<StorageEntry> entries;
  int failure = 0;
  while (true) {
    errno = 0;
    const struct dirent* const entry = ::readdir(handle);
    if (entry == nullptr) {
      failure = errno;
      break;
    }
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat info {};
    if (::fstatat(::dirfd(handle), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;  // removed by another process between the two calls
      failure = errno;
      break;
    }
    entries.push_back({name, S_ISDIR(info.st_mode), static_cast<std::uint64_t>(info.st_size)});
  }
  ::closedir(handle);
  if (failure != 0) return os_error("list", directory, failure);
  return entries;
}

Result<bool> PosixStorage::exists(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return os_error("examine", path, errno);
}

Result<void> PosixStorage::make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return os_error("create the folder", path, errno);
  }
  return {};
}

Result<void> PosixStorage::sync_directory(const std::string& directory) {
  const Descriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return os_error("open the folder", directory, errno);
  if (::fsync(fd.get()) != 0) return os_error("sync the folder", directory, errno);
  return {};
}

Result<std::uint32_t> PosixStorage::directory_mode(const std::string& directory) {
  struct stat info {};
  if (::stat(directory.c_str(), &info) != 0) return os_error("examine", directory, errno);
  if (!S_ISDIR(info.st_mode)) return os_error("use", directory, ENOTDIR);
  if (info.st_uid != ::geteuid()) {
    return make_error(ErrorCode::kIo, "the folder " + directory + " belongs to another user; " +
                                          "run as its owner or use another folder");
  }
  return static_cast<std::uint32_t>(info.st_mode & 07777);
}

Result<std::uint32_t> PosixStorage::file_mode(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return os_error("examine", path, errno);
  if (!S_ISREG(info.st_mode)) return os_error("use", path, EINVAL);
  if (info.st_uid != ::geteuid()) {
    return make_error(ErrorCode::kIo, "the file " + path +
                                          " belongs to another user; run as its "
                                          "owner");
  }
  return static_cast<std::uint32_t>(info.st_mode & 07777);
}

Result<FolderBirth> PosixStorage::folder_birth(const std::string& directory) {
  struct statx info {};
  if (::statx(AT_FDCWD, directory.c_str(), 0, STATX_INO | STATX_BTIME, &info) != 0) {
    return os_error("examine", directory, errno);
  }
  const std::uint64_t inode = info.stx_ino;
  std::uint64_t born = 0;  // stays 0 on a file system that does not record it
  if ((info.stx_mask & STATX_BTIME) != 0) {
    born =
        static_cast<std::uint64_t>(info.stx_btime.tv_sec) * 1'000'000'000 + info.stx_btime.tv_nsec;
  }
  FolderBirth birth{};
  for (std::size_t i = 0; i < 8; ++i) {
    birth[i] = static_cast<std::uint8_t>(inode >> (8 * i));
    birth[8 + i] = static_cast<std::uint8_t>(born >> (8 * i));
  }
  return birth;
}

const char* network_file_system(std::uint32_t type) {
  switch (type) {
    case 0x6969: return "NFS";
    case 0x517b:
    case 0xff534d42:
    case 0xfe534d42: return "SMB";
    case 0x5346414f:
    case 0x6b414653: return "AFS";
    case 0x73757245: return "Coda";
    case 0x00c36400: return "Ceph";
    case 0x0bd00bd0: return "Lustre";
    case 0x01021997: return "9P";
    case 0x65735546: return "FUSE";  // sshfs and others: locks stay on this host
    default: return nullptr;
  }
}

Result<std::unique_ptr<StorageLock>> PosixStorage::lock(const std::string& path) {
  const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
  Descriptor fd(::open(path.c_str(), flags, 0600));
  if (fd.get() < 0) return os_error("open the lock", path, errno);
  struct statfs disk {};
  if (::fstatfs(fd.get(), &disk) != 0) return os_error("examine", path, errno);
  const char* const network = network_file_system(static_cast<std::uint32_t>(disk.f_type));
  if (network != nullptr) {
    return make_error(ErrorCode::kConfig, "the lock " + path + " is on a network file system (" +
                                              network +
                                              "), where another host may not see it; keep pools "
                                              "on a local disk");
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return make_error(ErrorCode::kPoolBusy, "another process holds the lock " + path +
                                                  "; stop it first, or use another pool");
    }
    return os_error("lock", path, errno);
  }
  // A network file system may grant every lock. Ours must exclude a second open file, even here.
  const Descriptor rival(::open(path.c_str(), flags, 0600));
  if (rival.get() < 0) return os_error("open the lock", path, errno);
  if (::flock(rival.get(), LOCK_EX | LOCK_NB) == 0) {
    return make_error(ErrorCode::kConfig, "locks do not work on the file system of " + path +
                                              "; keep pools on a local disk");
  }
  return std::unique_ptr<StorageLock>(std::make_unique<PosixLock>(fd.release()));
}

Result<std::uint64_t> PosixStorage::free_bytes(const std::string& directory) {
  struct statvfs info {};
  if (::statvfs(directory.c_str(), &info) != 0) return os_error("examine", directory, errno);
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

}  // namespace beaverpond
