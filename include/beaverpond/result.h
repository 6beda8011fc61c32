// Errors as values. Every foreseeable failure of Beaverpond is returned, never thrown across a
// public boundary, and no library function ever calls exit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "beaverpond/check.h"

namespace beaverpond {

/// What went wrong. The values are the exit codes of the programs and never change meaning.
enum class ErrorCode : std::uint8_t {
  kConfig = 2,       ///< a flag, job file, model, shape or data file is wrong
  kPeerLost = 3,     ///< a player died, hung or closed its connection; `player` names it
  kTimeout = 4,      ///< a deadline passed although the peer is alive
  kPoolDry = 5,      ///< the pool did not refill before the deadline
  kPoolCorrupt = 6,  ///< a pool file failed its checks, or belongs to another pool
  kRosterMismatch =
      7,  ///< players disagree on roster, program or plan, or a certificate is foreign
  kProtocolMismatch = 8,  ///< a frame arrived that does not belong to this operation
  kOutOfMemory = 9,
  kIo = 10,                  ///< the operating system refused a read, a write or a socket
  kNoSpace = 11,             ///< the disk is full, or the disk budget is too small
  kPoolBusy = 12,            ///< another process holds the lock of this pool
  kDomain = 13,              ///< a value left the domain of the fixed-point protocol
  kCancelled = 14,           ///< stopped on request
  kPoolRolledBack = 15,      ///< a pool is older than what the other players saw of it
  kDeviceFailed = 16,        ///< a GPU, its driver or its module refused or stopped
  kCheckpointCorrupt = 17,   ///< a checkpoint failed its checks: damaged, or not what was written
  kCheckpointMismatch = 18,  ///< checkpoints of another job, roster or run, or no step in common
};

/// A failure: what happened, where, and what to do about it (all three in `message`).
struct Error {
  ErrorCode code = ErrorCode::kConfig;
  std::string message;
  std::optional<int> player;          ///< the player at fault, where one is known
  std::string operation;              ///< protocol operation in progress, where there was one
  std::optional<std::uint64_t> step;  ///< of a training, from 0, where one was in progress
  std::uint64_t epoch = 0;            ///< of the membership; a rejoin begins the next
};

/// Stable lower-case name of a code, as it appears in messages and JSON ("peer-lost").
inline const char* to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kConfig: return "config";
    case ErrorCode::kPeerLost: return "peer-lost";
    case ErrorCode::kTimeout: return "timeout";
    case ErrorCode::kPoolDry: return "pool-dry";
    case ErrorCode::kPoolCorrupt: return "pool-corrupt";
    case ErrorCode::kRosterMismatch: return "roster-mismatch";
    case ErrorCode::kProtocolMismatch: return "protocol-mismatch";
    case ErrorCode::kOutOfMemory: return "out-of-memory";
    case ErrorCode::kIo: return "io";
    case ErrorCode::kNoSpace: return "no-space";
    case ErrorCode::kPoolBusy: return "pool-busy";
    case ErrorCode::kDomain: return "domain";
    case ErrorCode::kCancelled: return "cancelled";
    case ErrorCode::kPoolRolledBack: return "pool-rolled-back";
    case ErrorCode::kDeviceFailed: return "device-failed";
    case ErrorCode::kCheckpointCorrupt: return "checkpoint-corrupt";
    case ErrorCode::kCheckpointMismatch: return "checkpoint-mismatch";
  }
  return "unknown";
}

inline Error make_error(ErrorCode code, std::string message) {
  Error error;
  error.code = code;
  error.message = std::move(message);
  return error;
}

/// Either a value or an Error. Reading the wrong one is a broken invariant and aborts.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    BP_CHECK(ok(), "value() of a failed Result");
    return std::get<0>(state_);
  }
  const T& value() const& {
    BP_CHECK(ok(), "value() of a failed Result");
    return std::get<0>(state_);
  }
  T value() && {
    BP_CHECK(ok(), "value() of a failed Result");
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& {
    BP_CHECK(!ok(), "error() of a successful Result");
    return std::get<1>(state_);
  }
  Error&& error() && {
    BP_CHECK(!ok(), "error() of a successful Result");
    return std::get<1>(std::move(state_));
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const& {
    BP_CHECK(!ok(), "error() of a successful Result");
    return *error_;
  }
  Error&& error() && {
    BP_CHECK(!ok(), "error() of a successful Result");
    return std::move(*error_);
  }

 private:
  std::optional<Error> error_;
};

}  // namespace beaverpond

/// Returns the error of `expression` (a Result) from the enclosing function, if it failed.
#define BP_TRY(expression)                                \
  do {                                                    \
    if (auto bp_result = (expression); !bp_result.ok()) { \
      return std::move(bp_result).error();                \
    }                                                     \
  } while (false)

#define BP_CONCAT_INNER(a, b) a##b
#define BP_CONCAT(a, b) BP_CONCAT_INNER(a, b)

/// `BP_ASSIGN(auto x, f())`: assigns the value of a Result, or returns its error.
// NOLINTBEGIN(bugprone-macro-parentheses): the target may be a declaration
#define BP_ASSIGN(target, expression)                          \
  auto BP_CONCAT(bp_result_, __LINE__) = (expression);         \
  if (!BP_CONCAT(bp_result_, __LINE__).ok()) {                 \
    return std::move(BP_CONCAT(bp_result_, __LINE__)).error(); \
  }                                                            \
  target = std::move(BP_CONCAT(bp_result_, __LINE__)).value()
// NOLINTEND(bugprone-macro-parentheses)
