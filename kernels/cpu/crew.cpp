#include "kernels/cpu/crew.h"

#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "kernels/pinning.h"

namespace beaverpond::cpu {

struct Crew::State {
  std::mutex mutex;
  std::condition_variable start, done;
  const std::function<void(int)>* body = nullptr;
  std::uint64_t piece = 0;  ///< of work, counted from 1
  int busy = 0;
  bool over = false;
  std::vector<std::thread> helpers;

  void help(int part) {
    std::unique_lock lock(mutex);
    for (std::uint64_t last = 0;;) {
      start.wait(lock, [&] { return over || piece != last; });
      if (over) return;
      last = piece;
      lock.unlock();
      (*body)(part);
      lock.lock();
      if (--busy == 0) done.notify_one();
    }
  }
};

Crew::Crew(int threads) : state_(std::make_unique<State>()) {
  if (threads > 1) state_->helpers.reserve(static_cast<std::size_t>(threads - 1));
  // Signals are the caller's: a helper would wake in the middle of a product.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int part = 1; part < threads; ++part) {
    try {
      state_->helpers.emplace_back([state = state_.get(), part] { state->help(part); });
    } catch (const std::system_error&) {
      break;
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Crew::~Crew() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->over = true;
  }
  state_->start.notify_all();
  for (std::thread& helper : state_->helpers) helper.join();
}

int Crew::size() const {
  return static_cast<int>(state_->helpers.size()) + 1;
}

Result<void> Crew::pin(std::span<const int> cpus) {
  BP_CHECK(cpus.size() >= static_cast<std::size_t>(size()), "a CPU for each thread");
  for (std::size_t i = 0; i < state_->helpers.size(); ++i) {
    BP_TRY(pin_thread(state_->helpers[i].native_handle(), cpus[i + 1]));
  }
  return {};
}

void Crew::run(const std::function<void(int part)>& body) {
  if (state_->helpers.empty()) return body(0);
  {
    const std::lock_guard lock(state_->mutex);
    state_->body = &body;
    state_->busy = size() - 1;
    ++state_->piece;
  }
  state_->start.notify_all();
  body(0);
  std::unique_lock lock(state_->mutex);
  state_->done.wait(lock, [&] { return state_->busy == 0; });
}

}  // namespace beaverpond::cpu
