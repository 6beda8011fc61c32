// Broken invariants abort, in Release too, with the place and the reason.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace beaverpond {

[[noreturn]] inline void check_failed(const char* file, int line, const char* condition,
                                      const char* message) {
  std::fprintf(stderr, "%s:%d: broken invariant: %s (%s)\n", file, line, message, condition);
  std::fflush(stderr);
  std::abort();
}

}  // namespace beaverpond

/// Aborts when `condition` is false: for programming errors only, never for bad input.
#define BP_CHECK(condition, message)                                       \
  do {                                                                     \
    if (!(condition)) {                                                    \
      ::beaverpond::check_failed(__FILE__, __LINE__, #condition, message); \
    }                                                                      \
  } while (false)
