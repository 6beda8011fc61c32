#include "online/transport/roll_call.h"

#include <algorithm>
#include <utility>

namespace beaverpond {

std::string describe_player(const TlsOptions& options, int player) {
  const TlsPlayer& entry = options.players[static_cast<std::size_t>(player)];
  return "player " + std::to_string(player) + " (" + entry.name + ", " + entry.host + " port " +
         std::to_string(entry.port) + ")";
}

RollCall::RollCall(const TlsOptions& options)
    : options_(options),
      present_(options.players.size()),
      hellos_(options.players.size()),
      attempts_(options.players.size()) {
  present_[static_cast<std::size_t>(options.rank)] = true;
  hellos_[static_cast<std::size_t>(options.rank)] = options.hello;
}

Result<RollCall::Hellos> RollCall::wait_blocking(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  const bool done =
      changed_.wait_until(lock, deadline, [&] { return error_.has_value() || complete(); });
  if (!done) error_ = timeout_error();
  over_ = true;
  if (error_.has_value()) return *error_;
  return hellos_;
}

bool RollCall::present(int player, std::vector<std::uint8_t> hello) {
  const std::scoped_lock lock(mutex_);
  present_[static_cast<std::size_t>(player)] = true;
  hellos_[static_cast<std::size_t>(player)] = std::move(hello);
  changed_.notify_all();
  return complete();
}

void RollCall::fail(Error error) {
  const std::scoped_lock lock(mutex_);
  if (over_ || error_.has_value()) return;
  error_ = std::move(error);
  changed_.notify_all();
}

void RollCall::note_attempt(int player, std::string what) {
  const std::scoped_lock lock(mutex_);
  attempts_[static_cast<std::size_t>(player)] = std::move(what);
}

void RollCall::note_turned_away(std::string whom) {
  const std::scoped_lock lock(mutex_);
  turned_away_ = std::move(whom);
}

std::optional<Error> RollCall::error() const {
  const std::scoped_lock lock(mutex_);
  return error_;
}

bool RollCall::over() const {
  const std::scoped_lock lock(mutex_);
  return over_;
}

bool RollCall::complete() const {
  return std::find(present_.begin(), present_.end(), false) == present_.end();
}

Error RollCall::timeout_error() const {
  const auto missing = std::find(present_.begin(), present_.end(), false) - present_.begin();
  const int player = static_cast<int>(missing);
  std::string message = describe_player(options_, player) + " did not connect within " +
                        std::to_string(options_.connect_timeout.count()) + " ms";
  const std::string& attempt = attempts_[static_cast<std::size_t>(missing)];
  if (!attempt.empty()) message += " (last attempt: " + attempt + ")";
  if (!turned_away_.empty()) message += "; meanwhile this player turned away " + turned_away_;
  message += "; start it, and check its host and port in roster.toml and the firewall between";
  Error error = make_error(ErrorCode::kTimeout, message);
  error.player = player;
  return error;
}

}  // namespace beaverpond
