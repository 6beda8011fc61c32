// Stacks to switch between on one system thread, and what the sanitizers have to be told of it.
// Nothing here is instrumented itself; the sanitizers' functions are found where they are linked.
#pragma once

#include <cstddef>

namespace simt {

struct Fiber {
  void* stack_pointer = nullptr;
  const void* stack_bottom = nullptr;
  std::size_t stack_size_bytes = 0;
  void* asan_stack = nullptr;
  void* tsan_fiber = nullptr;
};

bool under_address_sanitizer();
bool under_thread_sanitizer();

/// Makes a fiber whose first switch begins `entry`, which never returns.
void prepare(Fiber& fiber, unsigned char* stack, std::size_t size_bytes, void (*entry)());
/// Begins `entry`: first thing it calls.
void entered();
void switch_fiber(Fiber& from, Fiber& to);

/// Accesses before a release(what) happen before accesses behind an acquire(what).
void release(const void* what);
void acquire(const void* what);

/// What ThreadSanitizer knows of a fiber: of the one that runs now, and of new ones. In a dropped
/// one's name everything it did is released to `done`, wherever it was left.
void adopt_tsan_fiber(Fiber& fiber);
void make_tsan_fiber(Fiber& fiber);
void drop_tsan_fiber(Fiber& fiber, Fiber& running, const void* done);

/// Forgets what abandoned frames left poisoned.
void unpoison(const void* memory, std::size_t size_bytes);

}  // namespace simt
