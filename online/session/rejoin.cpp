#include "online/session/rejoin.h"

#include <algorithm>
#include <thread>

namespace beaverpond {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kFirstPause{20};
constexpr milliseconds kLastPause{500};

void notify(const RejoinOptions& options, const std::string& text) {
  if (options.on_notice) options.on_notice(text);
}

}  // namespace

bool may_rejoin(const Error& error) {
  return error.code == ErrorCode::kPeerLost || error.code == ErrorCode::kTimeout;
}

Result<void> rejoin_blocking(const RejoinOptions& options,
                             const std::function<Result<void>(SessionAttempt&)>& attempt) {
  const auto now = [&] { return options.now ? options.now() : steady_clock::now(); };
  const auto pause = [&](milliseconds time) {
    if (options.pause) return options.pause(time);
    std::this_thread::sleep_for(time);
  };
  SessionAttempt current;
  std::uint64_t furthest = 0;
  std::optional<Error> loss;  // since all were last together
  steady_clock::time_point give_up;
  milliseconds wait = kFirstPause;
  int futile = 0;
  while (true) {
    Result<void> done = attempt(current);
    if (done.ok() || options.patience.count() == 0 || !may_rejoin(done.error())) return done;
    if (!loss.has_value() || current.connected) {
      loss = std::move(done).error();
      give_up = now() + options.patience;
      wait = kFirstPause;
      futile = current.reached > furthest ? 0 : futile + (current.connected ? 1 : 0);
      furthest = std::max(furthest, current.reached);
      if (futile > kMaxFutileSessions) {
        loss->message += "; " + std::to_string(futile) +
                         " sessions in a row got no further: see what the players say about it";
        return *std::move(loss);
      }
      notify(options, loss->message + "; waiting " +
                          std::to_string(options.patience.count() / 1000) +
                          " s for all players to come back");
    }
    const auto left = std::chrono::duration_cast<milliseconds>(give_up - now());
    if (left <= wait) {
      loss->message += "; not all players came back within " +
                       std::to_string(options.patience.count()) +
                       " ms: start the lost player again with --resume, then this one too";
      return *std::move(loss);
    }
    pause(wait);
    current = {current.number + 1, left - wait, false, 0};
    wait = std::min(wait * 2, kLastPause);
  }
}

}  // namespace beaverpond
