#include "tests/simt/runtime/fiber.h"

extern "C" {
void simt_switch_stack(void** save, void* load);

// Null where the program is linked without the sanitizer.
#define SIMT_WEAK __attribute__((weak))
SIMT_WEAK void __sanitizer_start_switch_fiber(void** save, const void* bottom, std::size_t size);
SIMT_WEAK void __sanitizer_finish_switch_fiber(void* saved, const void** bottom, std::size_t* size);
SIMT_WEAK void __asan_unpoison_memory_region(const volatile void* address, std::size_t size);
SIMT_WEAK void* __tsan_get_current_fiber();
SIMT_WEAK void* __tsan_create_fiber(unsigned flags);
SIMT_WEAK void __tsan_destroy_fiber(void* fiber);
SIMT_WEAK void __tsan_switch_to_fiber(void* fiber, unsigned flags);
SIMT_WEAK void __tsan_acquire(void* address);
SIMT_WEAK void __tsan_release(void* address);
#undef SIMT_WEAK
}

// What the System V ABI lets a callee keep, and no more: six registers and the stack.
asm(R"(
.text
.globl simt_switch_stack
.type simt_switch_stack, @function
simt_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmp *%rcx
.size simt_switch_stack, .-simt_switch_stack
)");

namespace simt {
namespace {

constexpr unsigned kTsanNoSync = 1;

constinit thread_local Fiber* came_from = nullptr;

void arrived(void* asan_stack) {
  if (__sanitizer_finish_switch_fiber) {
    __sanitizer_finish_switch_fiber(asan_stack, &came_from->stack_bottom,
                                    &came_from->stack_size_bytes);
  }
}

}  // namespace

bool under_address_sanitizer() {
  return __sanitizer_start_switch_fiber && !__tsan_create_fiber;
}
bool under_thread_sanitizer() {
  return __tsan_create_fiber;
}

void prepare(Fiber& fiber, unsigned char* stack, std::size_t size_bytes, void (*entry)()) {
  // As behind a call, 8 below a multiple of 16; the null return address ends backtraces.
  auto** top = reinterpret_cast<void**>(stack + size_bytes);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  fiber.stack_pointer = top;
  fiber.stack_bottom = stack;
  fiber.stack_size_bytes = size_bytes;
  fiber.asan_stack = nullptr;
}

void entered() {
  arrived(nullptr);
}

void switch_fiber(Fiber& from, Fiber& to) {
  if (__sanitizer_start_switch_fiber) {
    __sanitizer_start_switch_fiber(&from.asan_stack, to.stack_bottom, to.stack_size_bytes);
  }
  if (__tsan_switch_to_fiber) __tsan_switch_to_fiber(to.tsan_fiber, kTsanNoSync);
  came_from = &from;
  simt_switch_stack(&from.stack_pointer, to.stack_pointer);
  arrived(from.asan_stack);
}

void release(const void* what) {
  if (__tsan_release) __tsan_release(const_cast<void*>(what));
}

void acquire(const void* what) {
  if (__tsan_acquire) __tsan_acquire(const_cast<void*>(what));
}

void adopt_tsan_fiber(Fiber& fiber) {
  if (__tsan_get_current_fiber) fiber.tsan_fiber = __tsan_get_current_fiber();
}

void make_tsan_fiber(Fiber& fiber) {
  fiber.tsan_fiber = __tsan_create_fiber(0);
}

void drop_tsan_fiber(Fiber& fiber, Fiber& running, const void* done) {
  __tsan_switch_to_fiber(fiber.tsan_fiber, kTsanNoSync);
  release(done);
  __tsan_switch_to_fiber(running.tsan_fiber, kTsanNoSync);
  __tsan_destroy_fiber(fiber.tsan_fiber);
  fiber.tsan_fiber = nullptr;
}

void unpoison(const void* memory, std::size_t size_bytes) {
  if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(memory, size_bytes);
}

}  // namespace simt
