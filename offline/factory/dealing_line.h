// Deals the bundles of one class in their order, ahead of whoever writes them.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <span>
#include <vector>

#include "beaverpond/result.h"
#include "beaverpond/seed.h"
#include "offline/pool/buffer_cache.h"

namespace beaverpond {

/// The dealing step: one seed per player in, the designated player's correction out. Errors: those
/// of Dealer::deal().
using DealFunction = std::function<Result<void>(std::span<const Seed> seeds, int designated,
                                                std::span<std::uint8_t> correction)>;

/// Each dealer has one bundle in hand, until it is taken: memory for one more than there are
/// dealers is all that is in use, however much was ordered. One thread, besides those that deal.
class DealingLine {
 public:
  struct Order {
    std::vector<Seed> seeds;  ///< of this bundle, by player
    int designated = 0;
  };

  /// `allocate` may be empty. `dealers`: at least one.
  DealingLine(std::vector<DealFunction> dealers, std::size_t correction_size,
              BufferCache::Allocator allocate);
  DealingLine(const DealingLine&) = delete;             // threads refer to the dealers
  DealingLine& operator=(const DealingLine&) = delete;  // likewise
  /// Waits for the bundles in hand.
  ~DealingLine() = default;

  /// Appends orders. Dealers that have nothing in hand begin, as far as memory and threads allow.
  void order(std::vector<Order> orders);

  /// The next bundle of those ordered and not yet taken, of which there must be one; its dealer
  /// begins another. Errors: those of this bundle: its dealer's, kIo (no thread), kOutOfMemory and
  /// the allocator's. After an error the line is to be cleared.
  Result<BufferCache::Buffer> take_blocking();

  /// Whether take_blocking() would give the next bundle, or its error, without waiting.
  bool is_ready() const;

  /// Forgets all orders, waits for the bundles in hand, and gives their memory back.
  void clear_blocking();

 private:
  struct Job {
    BufferCache::Buffer buffer;
    std::future<Result<void>> dealt;
  };
  Result<void> start_idle();

  std::vector<DealFunction> dealers_;
  std::size_t correction_size_;
  BufferCache::Allocator allocate_;
  BufferCache cache_;
  std::size_t started_ = 0;  // dealers take turns
  std::deque<Order> ordered_;
  std::deque<Job> jobs_;  // last: it waits for its threads before the rest goes
};

}  // namespace beaverpond
