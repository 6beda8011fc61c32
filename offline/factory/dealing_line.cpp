#include "offline/factory/dealing_line.h"

#include <chrono>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <utility>

namespace beaverpond {
namespace {

/// Waits for a dealer. What one that failed left in its buffer must not be published.
Result<void> result_of(std::future<Result<void>>& dealt) {
  try {
    Result<void> outcome = dealt.get();
    if (outcome.ok()) return outcome;
    Error error = std::move(outcome).error();
    error.message = "dealing failed: " + error.message + "; the unfinished segment was dropped";
    return error;
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory,
                      "not enough memory to deal a bundle; the unfinished segment was dropped: "
                      "lower --threads or --segment-bundles, or give the factory more memory");
  } catch (const std::exception& failure) {
    return make_error(ErrorCode::kIo, std::string("dealing failed: ") + failure.what() +
                                          "; the unfinished segment was dropped");
  }
}

}  // namespace

DealingLine::DealingLine(std::vector<DealFunction> dealers, std::size_t correction_size,
                         BufferCache::Allocator allocate)
    : dealers_(std::move(dealers)),
      correction_size_(correction_size),
      allocate_(std::move(allocate)),
      cache_(dealers_.size() + 1, allocate_) {
  BP_CHECK(!dealers_.empty(), "a class needs a dealer");
}

void DealingLine::order(std::vector<Order> orders) {
  for (Order& one : orders) ordered_.push_back(std::move(one));
  static_cast<void>(start_idle());
}

/// Stops at the first bundle that cannot begin; it is tried again with every bundle that is taken,
/// and the error counts where nothing else is left to be taken.
Result<void> DealingLine::start_idle() {
  // Jobs are taken in their order, so the dealer whose turn it is has nothing in hand.
  while (!ordered_.empty() && jobs_.size() < dealers_.size()) {
    BP_ASSIGN(auto buffer, cache_.take(correction_size_));
    try {
      jobs_.push_back(
          {buffer, std::async(std::launch::async, [&deal = dealers_[started_ % dealers_.size()],
                                                   bytes = buffer.bytes, order = ordered_.front()] {
             return deal(order.seeds, order.designated, bytes);
           })});
    } catch (const std::system_error& refused) {
      return make_error(ErrorCode::kIo, std::string("cannot start a dealing thread: ") +
                                            refused.what() +
                                            "; lower --threads or raise the limit of processes "
                                            "(ulimit -u)");
    }
    ordered_.pop_front();
    ++started_;
  }
  return {};
}

Result<BufferCache::Buffer> DealingLine::take_blocking() {
  const Result<void> started = start_idle();
  if (jobs_.empty()) {
    BP_CHECK(!started.ok(), "a bundle is taken that was not ordered");
    return started.error();
  }
  Job job = std::move(jobs_.front());
  jobs_.pop_front();
  BP_TRY(result_of(job.dealt));
  static_cast<void>(start_idle());
  return job.buffer;
}

bool DealingLine::is_ready() const {
  return !jobs_.empty() &&
         jobs_.front().dealt.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

void DealingLine::clear_blocking() {
  ordered_.clear();
  jobs_.clear();
  cache_ = BufferCache(dealers_.size() + 1, allocate_);
}

}  // namespace beaverpond
