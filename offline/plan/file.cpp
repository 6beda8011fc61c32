#include "offline/plan/file.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace beaverpond {

namespace {

Error cannot_write(const std::string& path, int reason) {
  const bool full = reason == ENOSPC || reason == EDQUOT;
  return make_error(full ? ErrorCode::kNoSpace : ErrorCode::kIo,
                    "cannot write " + path + ": " + std::strerror(reason) + "; " +
                        (full ? "make room on that disk" : "check the folder and its permissions"));
}

Error cannot_read(const std::string& path, const char* reason) {
  return make_error(ErrorCode::kIo,
                    "cannot read " + path + ": " + reason + "; check the path and its permissions");
}

int write_and_sync(int descriptor, std::string_view content, unsigned mode) {
  while (!content.empty()) {
    const ssize_t n = ::write(descriptor, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fchmod(descriptor, mode) != 0) return errno;
  return ::fsync(descriptor) == 0 ? 0 : errno;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

int sync_folder_of(const std::string& path) {
  const std::string folder = folder_of(path);
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return errno;
  const int reason = ::fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  return reason;
}

}  // namespace

Result<int> open_regular_file(const std::string& path) {
  // Opening a pipe would wait for a writer.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) return cannot_read(path, std::strerror(errno));
  struct stat status {};
  if (::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode)) return descriptor;
  const bool folder = S_ISDIR(status.st_mode);
  ::close(descriptor);
  return make_error(ErrorCode::kIo, "cannot read " + path + ": it is " +
                                        (folder ? "a folder" : "a pipe or device") +
                                        ", no regular file; name a file");
}

Result<std::string> read_small_file(const std::string& path, std::size_t limit_bytes) {
  BP_ASSIGN(const int descriptor, open_regular_file(path));
  std::string content;
  ssize_t got = 1;
  int reason = 0;
  char block[65536];
  while (got > 0 && content.size() <= limit_bytes) {
    got = ::read(descriptor, block, sizeof block);
    if (got > 0) content.append(block, static_cast<std::size_t>(got));
    if (got < 0) reason = errno;
    if (got < 0 && reason == EINTR) got = 1;
  }
  ::explicit_bzero(block, sizeof block);  // it may have held a key
  ::close(descriptor);
  if (got < 0) return cannot_read(path, std::strerror(reason));
  if (content.size() > limit_bytes) {
    return make_error(ErrorCode::kConfig, path + ": too large to be such a file; check the path");
  }
  return content;
}

Result<void> replace_file(const std::string& path, std::string_view content, unsigned mode) {
  std::string temporary = path + ".XXXXXX";
  const int descriptor = ::mkostemp(temporary.data(), O_CLOEXEC);  // made with mode 0600
  if (descriptor < 0) return cannot_write(path, errno);
  int reason = write_and_sync(descriptor, content, mode);
  if (::close(descriptor) != 0 && reason == 0) reason = errno;
  if (reason == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) reason = errno;
  if (reason != 0) {
    ::unlink(temporary.c_str());
    return cannot_write(path, reason);
  }
  reason = sync_folder_of(path);
  if (reason != 0) return cannot_write(path, reason);
  return {};
}

Result<void> check_output_path(const std::string& path) {
  if (path.empty()) return {};
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    // A rename would replace a device such as /dev/null for the whole machine.
    return make_error(ErrorCode::kIo,
                      "cannot write " + path + ": it is no regular file; name another");
  }
  if (::access(folder_of(path).c_str(), W_OK | X_OK) != 0) return cannot_write(path, errno);
  return {};
}

Result<void> check_room(const std::string& path, std::uint64_t bytes) {
  struct statvfs disk {};
  if (path.empty() || ::statvfs(folder_of(path).c_str(), &disk) != 0) return {};
  const std::uint64_t free = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  if (free >= bytes) return {};
  return make_error(ErrorCode::kNoSpace, path + " will take " + std::to_string(bytes) +
                                             " bytes, and " + std::to_string(free) +
                                             " are free there; free some, or name another disk");
}

Result<void> flush_output() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return {};
  return make_error(ErrorCode::kIo,
                    "standard output is closed or full and did not take all lines; files that were "
                    "asked for are complete");
}

void occupy_standard_descriptors() {
  int descriptor = 0;
  // Read-only, so that writing to what was closed still fails.
  do {
    descriptor = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  } while (descriptor >= 0 && descriptor <= STDERR_FILENO);
  if (descriptor >= 0) ::close(descriptor);
}

void forbid_core_files() {
  const struct rlimit none {};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);  // also where cores are piped to a program
}

}  // namespace beaverpond
