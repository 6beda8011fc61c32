// Threads that share one piece of work at a time; the only ones that compute.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "beaverpond/result.h"

namespace beaverpond::cpu {

/// The caller and helpers that sleep between two pieces of work. One thread at a time uses a crew.
class Crew {
 public:
  /// At least one thread, the caller's; fewer than asked for where the system refuses more.
  explicit Crew(int threads);
  ~Crew();
  Crew(const Crew&) = delete;             // helpers know its address
  Crew& operator=(const Crew&) = delete;  // helpers know its address

  int size() const;
  /// Helper i, which does part i, stays on cpus[i]; cpus[0] is that of the caller, who pins itself.
  /// Errors: those of pin_thread().
  Result<void> pin(std::span<const int> cpus);
  /// Calls body(part) for part 0 .. size() - 1, each on another thread, and returns when all have
  /// returned. `body` throws nothing.
  void run(const std::function<void(int part)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace beaverpond::cpu
