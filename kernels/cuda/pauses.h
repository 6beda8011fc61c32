// Waiting for a device with a limit. Nothing announces that a device has got on: it is asked again,
// and CUDA's own waits have no limit.
#pragma once

#include <algorithm>
#include <chrono>
#include <thread>

namespace beaverpond::cuda {

/// Between two questions: none while a fast answer is likely, then times that grow with the time
/// waited, to a millisecond.
class Pauses {
 public:
  using Clock = std::chrono::steady_clock;

  /// True when it slept.
  bool pause() {
    const Clock::duration waited = Clock::now() - start_;
    if (waited < std::chrono::microseconds(500)) {
      std::this_thread::yield();
      return false;
    }
    std::this_thread::sleep_for(
        std::min<Clock::duration>(waited / 16, std::chrono::milliseconds(1)));
    return true;
  }
  Clock::duration waited() const { return Clock::now() - start_; }

 private:
  const Clock::time_point start_ = Clock::now();
};

}  // namespace beaverpond::cuda
