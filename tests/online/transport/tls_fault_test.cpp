// Players that die or stand still: each is a process here, so that it can be killed for real.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <functional>

#include "tests/online/transport/players.h"

namespace beaverpond {
namespace {

using testing::in_ms;
using testing::seconds_since;
using testing::TlsPlayers;

constexpr int kPlayers = 3;
constexpr int kVictim = 1;

/// What a player process reports about its end.
struct Verdict {
  int code = -1;
  int player = -1;
  double seconds = 0;          ///< from the order to wait until the error
  double closing_seconds = 0;  ///< to destroy the transport
};

/// Starts all players as processes. Each says "up" on its pipe, then runs `body` and reports.
class Processes {
 public:
  using Body = std::function<Result<void>(Transport&)>;

  explicit Processes(const Body& body) : setup_(kPlayers) {
    std::vector<TlsOptions> options;
    for (int rank = 0; rank < kPlayers; ++rank) options.push_back(setup_.options(rank));
    for (int rank = 0; rank < kPlayers; ++rank) {
      int ends[2];
      BP_CHECK(::pipe(ends) == 0, "pipe");
      const pid_t child = ::fork();
      BP_CHECK(child >= 0, "fork");
      if (child == 0) {
        for (int other = 0; other < kPlayers; ++other) {
          const auto i = static_cast<std::size_t>(other);
          if (other != rank) ::close(options[i].listen_descriptor);
        }
        play(options[static_cast<std::size_t>(rank)], body, ends[1]);
      }
      ::close(ends[1]);
      children_.push_back(child);
      pipes_.push_back(ends[0]);
    }
    for (const TlsOptions& each : options) ::close(each.listen_descriptor);
    for (const int pipe : pipes_) {
      char up = 0;
      BP_CHECK(::read(pipe, &up, 1) == 1 && up == 'u', "a player did not come up");
    }
  }

  ~Processes() {
    for (const pid_t child : children_) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
    for (const int pipe : pipes_) ::close(pipe);
  }
  Processes(const Processes&) = delete;             // owns processes
  Processes& operator=(const Processes&) = delete;  // owns processes

  void signal(int rank, int number) const {
    ::kill(children_[static_cast<std::size_t>(rank)], number);
  }

  Verdict verdict(int rank) const {
    Verdict verdict;
    const int pipe = pipes_[static_cast<std::size_t>(rank)];
    pollfd ready{pipe, POLLIN, 0};
    if (::poll(&ready, 1, 30'000) != 1) return verdict;
    if (::read(pipe, &verdict, sizeof verdict) != sizeof verdict) return {};
    return verdict;
  }

 private:
  [[noreturn]] static void play(const TlsOptions& options, const Body& body, int pipe) {
    Verdict verdict;
    Deadline closing;
    {
      Result<TlsConnected> connected = connect_tls_blocking(options);
      if (!connected.ok()) {
        std::fprintf(stderr, "%s\n", connected.error().message.c_str());
        ::_exit(1);
      }
      BP_CHECK(::write(pipe, "u", 1) == 1, "pipe");
      const Deadline start = in_ms(0);
      const Result<void> result = body(*connected->transport);
      verdict.seconds = seconds_since(start);
      verdict.code = result.ok() ? 0 : static_cast<int>(result.error().code);
      verdict.player = result.ok() ? -1 : result.error().player.value_or(-1);
      closing = in_ms(0);
    }
    verdict.closing_seconds = seconds_since(closing);
    BP_CHECK(::write(pipe, &verdict, sizeof verdict) == sizeof verdict, "pipe");
    ::_exit(0);
  }

  TlsPlayers setup_;
  std::vector<pid_t> children_;
  std::vector<int> pipes_;
};

void expect_lost(const Verdict& verdict) {
  EXPECT_EQ(verdict.code, static_cast<int>(ErrorCode::kPeerLost));
  EXPECT_EQ(verdict.player, kVictim);
  EXPECT_LT(verdict.seconds, 5.0);
  EXPECT_LT(verdict.closing_seconds, 3.0);
}

/// Everyone waits for everyone.
Result<void> wait_for_all(Transport& transport) {
  std::vector<std::uint64_t> words(1);
  for (;;) {
    if (transport.rank() == kVictim) ::pause();
    BP_TRY(transport.all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(25'000)));
  }
}

/// The survivors wait only for each other, with a deadline far away.
Result<void> wait_for_the_other_survivor(Transport& transport) {
  if (transport.rank() == kVictim) ::pause();
  std::vector<std::uint8_t> byte(1);
  return transport.recv_blocking(2 - transport.rank(), byte, {}, in_ms(25'000));
}

/// Nobody waits for anything while it happens.
Result<void> sleep_then_reduce(Transport& transport) {
  if (transport.rank() == kVictim) ::pause();
  std::this_thread::sleep_for(std::chrono::milliseconds(4'600));
  std::vector<std::uint64_t> words(1);
  return transport.all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(25'000));
}

/// Megabytes are under way all the time.
Result<void> stream_words(Transport& transport) {
  std::vector<std::uint64_t> words(1'000'000);
  for (;;) {
    BP_TRY(transport.all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(25'000)));
  }
}

class Fault : public ::testing::TestWithParam<int> {
 protected:
  void expect_found(const Processes::Body& body) {
    const Processes processes(body);
    processes.signal(kVictim, GetParam());
    for (const int survivor : {0, 2}) expect_lost(processes.verdict(survivor));
  }
};

TEST_P(Fault, IsFoundByWhoWaitsForThatPlayer) {
  expect_found(wait_for_all);
}

TEST_P(Fault, IsFoundByWhoWaitsForAnother) {
  expect_found(wait_for_the_other_survivor);
}

TEST_P(Fault, IsFoundWhileNothingIsPending) {
  expect_found(sleep_then_reduce);
}

TEST_P(Fault, IsFoundInTheMiddleOfLargeMessages) {
  const Processes processes(stream_words);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  processes.signal(kVictim, GetParam());
  const Deadline start = in_ms(0);
  for (const int survivor : {0, 2}) {
    const Verdict verdict = processes.verdict(survivor);
    EXPECT_EQ(verdict.code, static_cast<int>(ErrorCode::kPeerLost));
    EXPECT_EQ(verdict.player, kVictim);
  }
  EXPECT_LT(seconds_since(start), 5.0);
}

INSTANTIATE_TEST_SUITE_P(Tls, Fault, ::testing::Values(SIGKILL, SIGSTOP), [](const auto& info) {
  return info.param == SIGKILL ? "Killed" : "Stopped";
});

TEST(Survivor, AStoppedPlayerThatWakesUpIsToldSo) {
  const Processes processes([](Transport& transport) {
    std::vector<std::uint64_t> words(1);
    std::vector<std::uint8_t> never(1);
    return transport.rank() == kVictim
               ? transport.recv_blocking(0, never, {.lane = 1}, in_ms(25'000))
               : transport.all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(25'000));
  });
  processes.signal(kVictim, SIGSTOP);
  for (const int survivor : {0, 2}) expect_lost(processes.verdict(survivor));
  processes.signal(kVictim, SIGCONT);
  EXPECT_EQ(processes.verdict(kVictim).code, static_cast<int>(ErrorCode::kPeerLost));
}

TEST(Survivor, AShortStopIsForgiven) {
  const Processes processes([](Transport& transport) -> Result<void> {
    std::vector<std::uint64_t> words(1);
    for (int i = 0; i < 2; ++i) {
      BP_TRY(transport.all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(25'000)));
      std::this_thread::sleep_for(std::chrono::milliseconds(1'000));
    }
    return {};
  });
  processes.signal(kVictim, SIGSTOP);
  std::this_thread::sleep_for(std::chrono::milliseconds(2'000));
  processes.signal(kVictim, SIGCONT);
  for (int rank = 0; rank < kPlayers; ++rank) EXPECT_EQ(processes.verdict(rank).code, 0);
}

}  // namespace
}  // namespace beaverpond
