#include "offline/pool/write_behind.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>

#include "beaverpond/check.h"

namespace beaverpond {

struct WriteBehind::State {
  struct Order {
    std::shared_ptr<StorageFile> file;
    std::uint64_t offset = 0;
    BufferCache::Buffer piece;
    std::size_t size = 0;
  };

  ~State() {
    {
      const std::lock_guard<std::mutex> guard(mutex);
      ended = true;
      orders.clear();
    }
    changed.notify_all();
    if (thread.joinable()) thread.join();
  }

  Result<void> start() {
    try {
      thread = std::thread([this] { run(); });
    } catch (const std::system_error& refused) {
      return make_error(ErrorCode::kIo, std::string("cannot start a thread that writes: ") +
                                            refused.what() +
                                            "; raise the limit of processes (ulimit -u)");
    }
    return {};
  }

  void run() {
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
      changed.wait(lock, [this] { return ended || !orders.empty(); });
      if (ended) return;
      Order order = std::move(orders.front());
      orders.pop_front();
      writing = true;
      lock.unlock();
      changed.notify_all();
      Result<void> written =
          order.file->write_at(order.offset, order.piece.bytes.first(order.size));
      // What went through the page cache, for it has no other way on this disk.
      if (written.ok()) order.file->start_writeback(order.offset, order.size);
      order = {};
      lock.lock();
      writing = false;
      if (!written.ok()) {
        outcome = std::move(written);
        orders.clear();
      }
      changed.notify_all();
    }
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Order> orders;
  bool writing = false;
  bool ended = false;
  Result<void> outcome;  // the first error
  std::thread thread;
};

WriteBehind::WriteBehind(std::size_t piece_bytes, std::size_t keep)
    : piece_bytes_(piece_bytes), memory_(keep), state_(std::make_unique<State>()) {
  BP_CHECK(piece_bytes > 0 && piece_bytes % BufferCache::kAlignment == 0, "pieces of whole blocks");
}

WriteBehind::~WriteBehind() = default;

Result<void> WriteBehind::write_blocking(std::shared_ptr<StorageFile> file, std::uint64_t offset,
                                         BufferCache::Buffer piece, std::size_t size) {
  BP_CHECK(size <= piece.bytes.size(), "a piece holds what is written of it");
  State& state = *state_;
  if (!state.thread.joinable()) BP_TRY(state.start());
  std::unique_lock<std::mutex> lock(state.mutex);
  state.changed.wait(lock,
                     [&] { return !state.outcome.ok() || state.orders.size() < kMostWaiting; });
  if (!state.outcome.ok()) return state.outcome;
  state.orders.push_back({std::move(file), offset, std::move(piece), size});
  lock.unlock();
  state.changed.notify_all();
  return {};
}

Result<void> WriteBehind::drain_blocking() {
  State& state = *state_;
  std::unique_lock<std::mutex> lock(state.mutex);
  state.changed.wait(
      lock, [&] { return !state.outcome.ok() || (state.orders.empty() && !state.writing); });
  return state.outcome;
}

}  // namespace beaverpond
