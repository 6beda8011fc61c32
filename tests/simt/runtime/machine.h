// One emulated multiprocessor: runs blocks one after the other on the system thread that owns it.
//
// Every thread of a block that has to wait does so on a stack of its own; one that never waits
// leaves its stack to the next. Which thread goes on is drawn at random wherever one waits. Under
// ThreadSanitizer every thread has a fiber of its own, and each block fresh memory, so that nothing
// orders two threads but barriers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "simt/run.h"
#include "tests/simt/runtime/fiber.h"

namespace simt {

constexpr unsigned kLanes = 32;
constexpr unsigned kMaxThreads = 1024;
constexpr std::size_t kMaxSharedBytes = 227 << 10;

enum class State : std::uint8_t { kNew, kReady, kRunning, kInBarrier, kInWarpCall, kExited };

struct Thread {
  Fiber* fiber;
  uint3 index;
  State state;
  WarpCall* call;    // kInWarpCall
  const char* file;  // kInBarrier
  int line;
  int first_copy, last_copy;  // of its queue, -1: none
  int groups;                 // committed
};

struct QueuedCopy {
  Copy copy;
  int group;
  int next;
};

/// Where a thread stands when the block cannot go on.
struct Failure {
  const char* what = nullptr;
  unsigned thread = 0, other = 0;
  const char* file = nullptr;
  int line = 0;
};

struct Launch {
  dim3 grid, block;
  std::size_t shared_bytes;
  Body body;
  const void* closure;
  std::uint64_t seed;
  const void* done;  // orders the kernel before what follows it
};

class Machine {
 public:
  Machine();
  ~Machine();
  Machine(const Machine&) = delete;  // its fibers know where it is
  Machine& operator=(const Machine&) = delete;

  /// Empty, or why the block could not end. Then the machine runs nothing more.
  std::string run_block(const Launch& launch, uint3 block);

  // Called by the running thread.
  void barrier(const char* file, int line);
  void warp_call(WarpCall& call);
  void queue_copy(void* shared, const void* global, bool valid, const char* file, int line);
  void commit_copies() { ++threads_[running_].groups; }
  bool next_copy(int unfinished, Copy& copy);
  std::uint64_t random();

  [[noreturn]] void run_threads();

 private:
  void map(std::size_t shared_bytes);
  void unmap();
  void make_fibers(unsigned count);
  void start_block(const Launch& launch, uint3 block);
  void fill_shared();
  bool guards_are_whole() const;
  unsigned lanes_of_warp(unsigned first_thread) const;
  bool complete(const WarpCall& call, unsigned first_thread, unsigned members);
  void finish(WarpOp op, unsigned first_thread, unsigned members);
  void order_memory(unsigned first_thread, unsigned members);
  void load_matrix(WarpCall* const* calls);
  void multiply(WarpCall* const* calls, bool is_unsigned);

  void make_ready(unsigned thread);
  /// A thread that can go on, one of the window_ that could last, or -1.
  int pick();
  int draw();
  /// Leaves the running thread for another, or for run_block when none can go on.
  void leave();
  void go(Fiber& from, int thread);
  void set_running(unsigned thread);
  [[noreturn]] void fail(const char* what, const char* file, int line, unsigned other);
  std::string describe_failure() const;
  std::string describe_deadlock() const;
  std::string name(unsigned thread) const;
  std::string place(unsigned thread) const;

  const Launch* launch_ = nullptr;
  uint3 block_{};
  Fiber main_;
  unsigned thread_count_ = 0, exited_ = 0, in_barrier_ = 0, running_ = 0;
  unsigned barriers_ = 0, orders_ = 0;
  std::uint64_t random_ = 1;
  Failure failure_;

  std::unique_ptr<Thread[]> threads_;
  std::unique_ptr<Fiber[]> fibers_;
  unsigned ready_[kMaxThreads];
  unsigned ready_count_ = 0, window_ = 0;
  int ahead_ = -1;  // drawn, but not yet picked
  Fiber* idle_[kMaxThreads];
  unsigned idle_count_ = 0;
  unsigned waiting_[kMaxThreads / kLanes] = {};  // lanes in a warp call, by warp

  // One mapping: places for acquire and release, shared memory between guards, stacks.
  unsigned char* mapping_ = nullptr;
  unsigned char* stacks_ = nullptr;
  unsigned fiber_count_ = 0;
  std::size_t mapping_bytes_ = 0, shared_room_ = 0;
  unsigned char* shared_ = nullptr;
  std::size_t shared_bytes_ = 0;
  unsigned char* exact_shared_ = nullptr;  // AddressSanitizer guards an allocation of its own
  std::size_t exact_shared_bytes_ = 0;

  std::unique_ptr<QueuedCopy[]> copies_;
  int copies_used_ = 0, free_copy_ = -1;
};

extern constinit thread_local Machine* machine;

}  // namespace simt
