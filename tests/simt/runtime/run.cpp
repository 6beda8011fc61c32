#include "simt/run.h"

#include <atomic>
#include <cstdlib>
#include <numeric>
#include <thread>

#include "tests/simt/runtime/machine.h"

namespace simt {
namespace {

/// A permutation of [0, count) drawn by the seed: multiplier * i + offset.
class BlockOrder {
 public:
  BlockOrder(std::uint64_t count, std::uint64_t seed) : count_(count) {
    const std::uint64_t drawn = (seed + 1) * 0x9e3779b97f4a7c15u;
    offset_ = (drawn >> 32) % count;
    multiplier_ = (drawn >> 8) % count;
    while (std::gcd(multiplier_, count) != 1) ++multiplier_;
  }
  std::uint64_t operator()(std::uint64_t i) const {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(multiplier_) * i + offset_) %
                                      count_);
  }

 private:
  std::uint64_t count_, offset_, multiplier_;
};

void check(dim3 grid, dim3 block, std::size_t shared_bytes) {
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMaxThreads || block.z > 64) {
    throw Error("no device runs a block of " + std::to_string(block.x) + "x" +
                std::to_string(block.y) + "x" + std::to_string(block.z) + " threads");
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 ||
      grid.z > 65535) {
    throw Error("no device runs a grid of " + std::to_string(grid.x) + "x" +
                std::to_string(grid.y) + "x" + std::to_string(grid.z) + " blocks");
  }
  if (shared_bytes > kMaxSharedBytes) {
    throw Error("no device gives a block " + std::to_string(shared_bytes) +
                " bytes of shared memory");
  }
}

/// Kept from launch to launch: its stacks are mapped and warm.
Machine& machine_of_this_thread() {
  static thread_local const std::unique_ptr<Machine> kept = std::make_unique<Machine>();
  return *kept;
}

}  // namespace

std::uint64_t default_seed() {
  const char* const text = std::getenv("SIMT_SEED");
  return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
}

void run_grid(const Options& options, dim3 grid, dim3 block, std::size_t shared_bytes, Body body,
              const void* closure) {
  check(grid, block, shared_bytes);
  const char done = 0;
  const Launch launch{grid, block, shared_bytes, body, closure, options.seed, &done};
  const std::uint64_t count = std::uint64_t{grid.x} * grid.y * grid.z;
  const BlockOrder order(count, options.seed);
  std::atomic<std::uint64_t> next = 0;
  std::atomic<bool> failed = false;
  const auto work = [&](std::string& error) {
    try {
      Machine& here = machine_of_this_thread();
      for (std::uint64_t i; error.empty() && !failed && (i = next++) < count;) {
        const std::uint64_t number = order(i);
        const uint3 at{static_cast<unsigned>(number % grid.x),
                       static_cast<unsigned>(number / grid.x % grid.y),
                       static_cast<unsigned>(number / grid.x / grid.y)};
        error = here.run_block(launch, at);
      }
    } catch (const std::exception& caught) {
      error = caught.what();
    }
    if (!error.empty()) failed = true;
  };
  const auto others = static_cast<std::size_t>(options.workers > 1 ? options.workers - 1 : 0);
  std::vector<std::string> errors(others + 1);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < others; ++i) threads.emplace_back(work, std::ref(errors[i]));
  work(errors[others]);
  for (std::thread& thread : threads) thread.join();
  acquire(&done);
  for (const std::string& error : errors) {
    if (!error.empty()) throw Error(error + " (seed " + std::to_string(options.seed) + ")");
  }
}

}  // namespace simt
