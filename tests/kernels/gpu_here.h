// Whether a test that needs a GPU may be skipped: only where there is none. A module that does not
// load, or a driver that refuses, beside a GPU is a failure.
#pragma once

#include <unistd.h>

namespace beaverpond::testing {

inline bool gpu_here() {
  return access("/dev/nvidia0", F_OK) == 0;
}

}  // namespace beaverpond::testing
