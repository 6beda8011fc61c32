// Threads of a simulation: run one at a time, switched only where the simulation says so, in an
// order that a seed decides. The same seed gives the same run.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <vector>

namespace beaverpond::testing {

class Fibers {
 public:
  explicit Fibers(std::uint64_t seed) : random_(seed) {}
  Fibers(const Fibers&) = delete;             // contexts hold addresses of it
  Fibers& operator=(const Fibers&) = delete;  // contexts hold addresses of it

  /// Runs all bodies to their ends. Not from a fiber.
  void run(std::vector<std::function<void()>> bodies);

  /// In a fiber: lets others run.
  void yield();
  /// In a fiber: waits for `ready`. False once every fiber waits in vain: time passes, and whoever
  /// waits notices.
  bool wait(std::function<bool()> ready);

  /// Called when every fiber waits in vain: true if something has changed (a clock moved on), and
  /// they are asked again. Without it, or after a false, all waits end.
  void on_idle(std::function<bool()> idle) { idle_ = std::move(idle); }

  std::uint64_t random() { return random_(); }

 private:
  struct Fiber {
    ucontext_t context{};
    std::unique_ptr<char[]> stack;
    std::function<void()> body;
    std::function<bool()> ready;  // empty: may run
    bool timed_out = false;
    bool done = true;
    void* fake_stack = nullptr;  // of the address sanitizer
  };
  static void enter(unsigned low, unsigned high);
  void switch_to(Fiber& fiber);
  void switch_back(bool for_good);
  Fiber* pick();

  std::mt19937_64 random_;
  std::function<bool()> idle_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  Fiber* current_ = nullptr;
  ucontext_t main_{};
  const void* main_stack_ = nullptr;
  std::size_t main_stack_size_ = 0;
};

}  // namespace beaverpond::testing
