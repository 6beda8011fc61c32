// Preloaded into a program: another host's clock and disk, as the environment says.
#include <dlfcn.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

extern "C" int clock_gettime(clockid_t clock, timespec* time) {
  const int result = static_cast<int>(syscall(SYS_clock_gettime, clock, time));
  const char* const ahead = std::getenv("BEAVERPOND_TEST_CLOCK_AHEAD");
  if (clock == CLOCK_REALTIME && ahead != nullptr) time->tv_sec += std::atol(ahead);
  return result;
}

extern "C" int statvfs(const char* path, struct statvfs* info) {
  using Function = int (*)(const char*, struct statvfs*);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "statvfs"));
  const int result = real(path, info);
  const char* const free = std::getenv("BEAVERPOND_TEST_FREE_BYTES");
  if (free != nullptr) info->f_bavail = std::strtoull(free, nullptr, 10) / info->f_frsize;
  return result;
}
