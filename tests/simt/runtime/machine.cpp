#include "tests/simt/runtime/machine.h"

#include <sys/mman.h>

#include <cstdlib>

constinit thread_local uint3 threadIdx{};
constinit thread_local uint3 blockIdx{};
constinit thread_local dim3 blockDim{};
constinit thread_local dim3 gridDim{};

namespace simt {

constinit thread_local unsigned char* shared_base = nullptr;
constinit thread_local Machine* machine = nullptr;

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kStackStride = 128 << 10;
constexpr std::size_t kOrderBytes = 64 << 10;
constexpr std::size_t kGuardBytes = 128;
constexpr unsigned char kGuard = 0xa5;
constexpr int kMaxCopies = 1 << 16;

[[noreturn]] void thread_entry() {
  entered();
  machine->run_threads();
}

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

Machine::Machine()
    : threads_(new Thread[kMaxThreads]),
      fibers_(new Fiber[kMaxThreads]),
      copies_(new QueuedCopy[kMaxCopies]) {}

Machine::~Machine() {
  unmap();
  std::free(exact_shared_);
}

void Machine::unmap() {
  if (mapping_ != nullptr) {
    unpoison(mapping_, mapping_bytes_);
    munmap(mapping_, mapping_bytes_);
  }
  mapping_ = nullptr;
}

void Machine::map(std::size_t shared_bytes) {
  unmap();
  shared_room_ = round_up(shared_bytes, kPage);
  const std::size_t head = kOrderBytes + shared_room_ + 2 * kPage;
  mapping_bytes_ = head + kMaxThreads * kStackStride;
  void* mapped = mmap(nullptr, mapping_bytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw Error("no memory for the stacks of a block");
  mapping_ = static_cast<unsigned char*>(mapped);
  stacks_ = mapping_ + head;
  fiber_count_ = idle_count_ = 0;
}

/// A page that cannot be written ends each stack. The tops are staggered: at equal offsets in their
/// pages they would share a few cache sets.
void Machine::make_fibers(unsigned count) {
  for (; fiber_count_ < count; ++fiber_count_) {
    Fiber& fiber = fibers_[fiber_count_];
    unsigned char* const stack = stacks_ + fiber_count_ * kStackStride;
    if (mprotect(stack, kPage, PROT_NONE) != 0) throw Error("no guard page for a stack");
    const std::size_t stagger = (fiber_count_ * 5 & 63) * 64;
    fiber = Fiber{};
    prepare(fiber, stack + kPage, kStackStride - kPage - stagger, thread_entry);
    idle_[idle_count_++] = &fiber;
  }
}

void Machine::fill_shared() {
  const std::size_t bytes = launch_->shared_bytes;
  shared_ = mapping_ + kOrderBytes + kPage;
  if (under_address_sanitizer()) {
    if (exact_shared_ == nullptr || exact_shared_bytes_ != bytes) {
      std::free(exact_shared_);
      void* made = nullptr;
      if (posix_memalign(&made, kGuardBytes, bytes) != 0) throw Error("no shared memory");
      exact_shared_ = static_cast<unsigned char*>(made);
      exact_shared_bytes_ = bytes;
    }
    shared_ = exact_shared_;
  } else {
    for (std::size_t i = 0; i < kGuardBytes; ++i) {
      shared_[-static_cast<std::ptrdiff_t>(i) - 1] = kGuard;
      shared_[bytes + i] = kGuard;
    }
  }
  for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
    *reinterpret_cast<std::uint64_t*>(shared_ + i) = random();
  }
  for (std::size_t i = bytes / 8 * 8; i < bytes; ++i) {
    shared_[i] = static_cast<unsigned char>(random());
  }
  shared_base = shared_;
}

bool Machine::guards_are_whole() const {
  if (under_address_sanitizer()) return true;
  for (std::size_t i = 0; i < kGuardBytes; ++i) {
    if (shared_[-static_cast<std::ptrdiff_t>(i) - 1] != kGuard) return false;
    if (shared_[launch_->shared_bytes + i] != kGuard) return false;
  }
  return true;
}

void Machine::start_block(const Launch& launch, uint3 block) {
  launch_ = &launch;
  block_ = block;
  const std::uint64_t number =
      (std::uint64_t{block.z} * launch.grid.y + block.y) * launch.grid.x + block.x;
  random_ = (launch.seed + 1) * 0x9e3779b97f4a7c15u + (number + 1) * 0xbf58476d1ce4e5b9u;
  if (random_ == 0) random_ = 1;
  // In half the blocks all threads advance together; in the others a warp runs far ahead.
  window_ = (random() >> 40 & 1) ? kMaxThreads : kLanes;
  failure_ = Failure{};
  // Fresh places for ThreadSanitizer: it would take one block's stacks for another's.
  if (mapping_ == nullptr || shared_room_ < launch.shared_bytes || under_thread_sanitizer()) {
    map(launch.shared_bytes);
  }
  thread_count_ = launch.block.x * launch.block.y * launch.block.z;
  make_fibers(thread_count_);
  fill_shared();
  exited_ = in_barrier_ = ready_count_ = barriers_ = orders_ = 0;
  copies_used_ = 0;
  ahead_ = -1;
  free_copy_ = -1;
  for (unsigned& lanes : waiting_) lanes = 0;
  adopt_tsan_fiber(main_);
  uint3 index{0, 0, 0};
  for (unsigned i = 0; i < thread_count_; ++i) {
    threads_[i] = Thread{nullptr, index, State::kNew, nullptr, nullptr, 0, -1, -1, 0};
    // Made here, so that a thread knows of this block's beginning and of no other thread.
    if (under_thread_sanitizer()) {
      make_tsan_fiber(fibers_[i]);
      threads_[i].fiber = &fibers_[i];
    }
    ready_[ready_count_++] = i;
    if (++index.x == launch.block.x) {
      index.x = 0;
      if (++index.y == launch.block.y) index.y = 0, ++index.z;
    }
  }
}

std::string Machine::run_block(const Launch& launch, uint3 block) {
  machine = this;
  start_block(launch, block);
  blockIdx = block;
  blockDim = launch.block;
  gridDim = launch.grid;
  go(main_, pick());
  if (under_thread_sanitizer()) {
    for (unsigned i = 0; i < thread_count_; ++i) drop_tsan_fiber(fibers_[i], main_, launch.done);
  }
  std::string error;
  if (failure_.what != nullptr) {
    error = describe_failure();
  } else if (exited_ != thread_count_) {
    error = describe_deadlock();
  } else if (!guards_are_whole()) {
    error = "write beyond the shared memory of block " + std::to_string(block.x) + "," +
            std::to_string(block.y) + "," + std::to_string(block.z);
  }
  if (!error.empty()) unmap();  // with the stacks that threads still stand on
  machine = nullptr;
  return error;
}

/// Every fiber's only function: runs the threads it is given to their ends.
void Machine::run_threads() {
  Fiber* const self = threads_[running_].fiber;
  for (;;) {
    launch_->body(launch_->closure);
    Thread& thread = threads_[running_];
    thread.state = State::kExited;
    ++exited_;
    const int next = pick();
    if (next >= 0 && threads_[next].fiber == nullptr) {
      threads_[next].fiber = self;
      set_running(static_cast<unsigned>(next));
      continue;
    }
    if (!under_thread_sanitizer()) idle_[idle_count_++] = self;
    go(*self, next);
  }
}

std::uint64_t Machine::random() {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return random_;
}

void Machine::make_ready(unsigned thread) {
  threads_[thread].state = State::kReady;
  ready_[ready_count_++] = thread;
}

/// Draws one ahead, so that its stack is on its way to the cache while another thread runs.
int Machine::pick() {
  const int next = ahead_ >= 0 ? ahead_ : draw();
  ahead_ = draw();
  if (ahead_ >= 0 && threads_[ahead_].fiber != nullptr) {
    __builtin_prefetch(threads_[ahead_].fiber->stack_pointer);
  }
  return next;
}

int Machine::draw() {
  if (ready_count_ == 0) return -1;
  const unsigned choices = ready_count_ < window_ ? ready_count_ : window_;
  const std::uint64_t i = ready_count_ - 1 - ((random() >> 32) * choices >> 32);
  const unsigned thread = ready_[i];
  ready_[i] = ready_[--ready_count_];
  return static_cast<int>(thread);
}

void Machine::set_running(unsigned thread) {
  running_ = thread;
  threads_[thread].state = State::kRunning;
  threadIdx = threads_[thread].index;
}

void Machine::go(Fiber& from, int next) {
  if (next < 0) return switch_fiber(from, main_);
  Thread& thread = threads_[next];
  if (thread.fiber == nullptr) thread.fiber = idle_[--idle_count_];
  set_running(static_cast<unsigned>(next));
  switch_fiber(from, *thread.fiber);
}

void Machine::leave() {
  const unsigned self = running_;
  const int next = pick();
  if (next == static_cast<int>(self)) return set_running(self);
  go(*threads_[self].fiber, next);
}

void Machine::fail(const char* what, const char* file, int line, unsigned other) {
  failure_ = Failure{what, running_, other, file, line};
  switch_fiber(*threads_[running_].fiber, main_);
  std::abort();  // never resumed
}

void Machine::barrier(const char* file, int line) {
  Thread& self = threads_[running_];
  self.file = file, self.line = line;
  // The places alternate: the next barrier's arrivals tell this one's leavers nothing.
  const unsigned char* const place = mapping_ + 8 * (barriers_ & 1);
  release(place);
  self.state = State::kInBarrier;
  if (++in_barrier_ == thread_count_) {
    in_barrier_ = 0;
    ++barriers_;
    for (unsigned i = 0; i < thread_count_; ++i) {
      if (threads_[i].line != line || threads_[i].file != file) {
        fail("threads of a block wait at different __syncthreads", file, line, i);
      }
      make_ready(i);
    }
  }
  leave();
  acquire(place);
}

void Machine::queue_copy(void* shared, const void* global, bool valid, const char* file, int line) {
  auto* const to = static_cast<unsigned char*>(shared);
  if (to < shared_ || to + 16 > shared_ + launch_->shared_bytes) {
    fail("cp_async_16 writes outside the block's shared memory", file, line, running_);
  }
  if (reinterpret_cast<std::uintptr_t>(shared) % 16 != 0 ||
      reinterpret_cast<std::uintptr_t>(global) % 16 != 0) {
    fail("cp_async_16 at an address that is no multiple of 16", file, line, running_);
  }
  int at = free_copy_;
  if (at >= 0) {
    free_copy_ = copies_[at].next;
  } else if (copies_used_ == kMaxCopies) {
    fail("more copies under way than the emulator holds", file, line, running_);
  } else {
    at = copies_used_++;
  }
  Thread& self = threads_[running_];
  copies_[at] = QueuedCopy{{shared, valid ? global : nullptr}, self.groups, -1};
  (self.last_copy < 0 ? self.first_copy : copies_[self.last_copy].next) = at;
  self.last_copy = at;
}

bool Machine::next_copy(int unfinished, Copy& copy) {
  Thread& self = threads_[running_];
  const int at = self.first_copy;
  if (at < 0 || copies_[at].group + unfinished >= self.groups) return false;
  copy = copies_[at].copy;
  self.first_copy = copies_[at].next;
  if (self.first_copy < 0) self.last_copy = -1;
  copies_[at].next = free_copy_;
  free_copy_ = at;
  return true;
}

void barrier(const char* file, int line) {
  machine->barrier(file, line);
}
void warp_call(WarpCall& call) {
  machine->warp_call(call);
}
void queue_copy(void* shared, const void* global, bool valid, const char* file, int line) {
  machine->queue_copy(shared, global, valid, file, line);
}
void commit_copies() {
  machine->commit_copies();
}
bool next_copy(int unfinished, Copy& copy) {
  return machine->next_copy(unfinished, copy);
}
std::uint64_t garbage() {
  return machine->random();
}

/// Every fence knows what the fences before it knew: more order than the device gives, but no
/// false alarm where one thread publishes and another takes.
void fence() {
  static char place;
  release(&place);
  acquire(&place);
}

}  // namespace simt
