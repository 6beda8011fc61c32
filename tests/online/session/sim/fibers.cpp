#include "tests/online/session/sim/fibers.h"

#include <cstdint>

#include "beaverpond/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace beaverpond::testing {
namespace {

constexpr std::size_t kStackSize = 512 * 1024;

// The address sanitizer wants to know about every change of stack.
void leave([[maybe_unused]] void** fake, [[maybe_unused]] const void* bottom,
           [[maybe_unused]] std::size_t size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake, bottom, size);
#endif
}

void arrive([[maybe_unused]] void* fake, [[maybe_unused]] const void** bottom,
            [[maybe_unused]] std::size_t* size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, bottom, size);
#endif
}

}  // namespace

void Fibers::run(std::vector<std::function<void()>> bodies) {
  BP_CHECK(current_ == nullptr, "fibers do not start fibers");
  while (fibers_.size() < bodies.size()) {
    fibers_.push_back(std::make_unique<Fiber>());
    fibers_.back()->stack = std::make_unique_for_overwrite<char[]>(kStackSize);
  }
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    Fiber& fiber = *fibers_[i];
    fiber.body = std::move(bodies[i]);
    fiber.ready = nullptr;
    fiber.timed_out = fiber.done = false;
    ::getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackSize;
    fiber.context.uc_link = nullptr;
    // makecontext passes ints only.
    const auto self = reinterpret_cast<std::uintptr_t>(this);
    ::makecontext(&fiber.context, reinterpret_cast<void (*)()>(&Fibers::enter), 2,
                  static_cast<unsigned>(self), static_cast<unsigned>(self >> 32));
  }
  while (Fiber* fiber = pick()) switch_to(*fiber);
}

void Fibers::enter(unsigned low, unsigned high) {
  auto* self = reinterpret_cast<Fibers*>(std::uintptr_t{high} << 32 | low);
  arrive(nullptr, &self->main_stack_, &self->main_stack_size_);
  self->current_->body();
  self->current_->body = nullptr;
  self->current_->done = true;
  self->switch_back(true);
}

void Fibers::switch_to(Fiber& fiber) {
  current_ = &fiber;
  void* fake = nullptr;
  leave(&fake, fiber.stack.get(), kStackSize);
  ::swapcontext(&main_, &fiber.context);
  arrive(fake, nullptr, nullptr);
  current_ = nullptr;
}

void Fibers::switch_back(bool for_good) {
  Fiber& fiber = *current_;
  leave(for_good ? nullptr : &fiber.fake_stack, main_stack_, main_stack_size_);
  ::swapcontext(&fiber.context, &main_);
  arrive(fiber.fake_stack, &main_stack_, &main_stack_size_);
}

Fibers::Fiber* Fibers::pick() {
  std::size_t alive = 0;
  for (int round = 0; round < 2;) {
    std::vector<Fiber*> able;
    alive = 0;
    for (const auto& fiber : fibers_) {
      if (fiber->done) continue;
      ++alive;
      if (!fiber->ready || fiber->timed_out || fiber->ready()) able.push_back(fiber.get());
    }
    if (!able.empty()) return able[random_() % able.size()];
    if (alive > 0 && idle_ && idle_()) continue;
    for (const auto& fiber : fibers_) fiber->timed_out = !fiber->done;
    ++round;
  }
  BP_CHECK(alive == 0, "a fiber is stuck");
  return nullptr;
}

void Fibers::yield() {
  if (current_ != nullptr) switch_back(false);
}

bool Fibers::wait(std::function<bool()> ready) {
  BP_CHECK(current_ != nullptr, "only a fiber waits");
  current_->ready = std::move(ready);
  current_->timed_out = false;
  switch_back(false);
  current_->ready = nullptr;
  const bool came = !current_->timed_out;
  current_->timed_out = false;
  return came;
}

}  // namespace beaverpond::testing
