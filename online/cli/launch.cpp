// Starts all players of one host: binds a free port for each, passes the descriptors, waits.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <utility>

#include "offline/plan/file.h"
#include "online/cli/commands.h"
#include "online/cli/json_line.h"
#include "online/transport/tls.h"

namespace beaverpond {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kChildDescriptor = 3;
/// Players notice a lost one within 5 s; those that still wait for it to connect do not.
constexpr std::chrono::seconds kFailureGrace{8};
/// Between asking a player to stop and ending it.
constexpr std::chrono::seconds kStopGrace{3};
/// Before a killed player is started again; twice as long each time.
constexpr std::chrono::milliseconds kFirstPause{250};
constexpr std::chrono::milliseconds kLastPause{8000};
/// How long players wait for one that is started again, where the command line does not say.
constexpr const char* kRejoinSeconds = "60";

struct Child {
  pid_t pid = -1;
  std::size_t rank = 0;
  int listener = -1;
  std::string home;
  std::string report;
  int status = 0;
  bool ended = false;
  std::uint32_t restarts = 0;
  std::optional<Clock::time_point> restart_at;  ///< it was killed, and is due again
};

/// Signals that are waited for instead of handled, so that none can slip in between two calls.
class AwaitedSignals {
 public:
  AwaitedSignals() {
    signal(SIGCHLD, SIG_DFL);  // ignored, it would leave nothing to wait for
    sigemptyset(&set_);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&set_, number);
    sigprocmask(SIG_BLOCK, &set_, &before_);
  }
  ~AwaitedSignals() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  AwaitedSignals(const AwaitedSignals&) = delete;             // restores the mask once
  AwaitedSignals& operator=(const AwaitedSignals&) = delete;  // restores the mask once

  /// 0 if none comes within a fraction of a second.
  int wait() const {
    const timespec limit{0, 200'000'000};
    return std::max(0, sigtimedwait(&set_, nullptr, &limit));
  }
  const sigset_t& before() const { return before_; }

 private:
  sigset_t set_{};
  sigset_t before_{};
};

bool has_flag(const std::vector<std::string>& arguments, const std::string& flag) {
  return std::any_of(arguments.begin(), arguments.end(), [&flag](const std::string& argument) {
    return argument == flag || argument.starts_with(flag + "=");
  });
}

std::vector<std::string> child_arguments(const LaunchCommand& options, const Child& child,
                                         const std::string& peers, std::size_t players) {
  std::vector<std::string> arguments = {"/proc/self/exe"};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  for (const std::string& extra : {std::string("--home"), child.home, std::string("--listen-fd"),
                                   std::to_string(kChildDescriptor), std::string("--peers"), peers,
                                   std::string("--report"), child.report,
                                   // A launcher of launchers says nothing about the players.
                                   std::string("--rank"), std::to_string(child.rank),
                                   std::string("--size"), std::to_string(players)}) {
    arguments.push_back(extra);
  }
  if (options.one_gpu_each) {
    arguments.insert(arguments.end(), {"--device", "cuda:" + std::to_string(child.rank)});
  }
  if (options.restarts > 0 && !has_flag(options.arguments, "--rejoin")) {
    arguments.insert(arguments.end(), {"--rejoin", kRejoinSeconds});
  }
  if (child.restarts > 0 && !has_flag(options.arguments, "--resume")) {
    arguments.emplace_back("--resume");
  }
  return arguments;
}

/// In the child, between fork and exec: only async-signal-safe calls.
[[noreturn]] void become_player(const Child& child, int log, const sigset_t& signals, pid_t parent,
                                char* const* argv) {
  // A launcher that is killed takes its players along.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);
  sigprocmask(SIG_SETMASK, &signals, nullptr);
  if (log >= 0) {
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
  }
  if (child.listener == kChildDescriptor) {
    fcntl(child.listener, F_SETFD, 0);
  } else {
    dup2(child.listener, kChildDescriptor);
  }
  execv("/proc/self/exe", argv);
  _exit(127);
}

Result<void> start(const LaunchCommand& options, Child& child, const std::string& peers,
                   std::size_t players, const sigset_t& signals) {
  const std::vector<std::string> arguments = child_arguments(options, child, peers, players);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  int log = -1;
  if (child.rank != 0) {
    const std::string path = child.home + "/player.log";
    // A new file: another run on these homes may still write to the old one. A player that is
    // started again goes on in its own.
    const bool again = child.restarts > 0;
    if (!again) rename(path.c_str(), (path + ".old").c_str());
    log = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (again ? O_APPEND : O_TRUNC), 0600);
    if (log < 0) {
      return make_error(ErrorCode::kIo, "cannot write " + path + ": " + std::strerror(errno));
    }
  }
  const pid_t parent = getpid();
  child.pid = fork();
  if (child.pid == 0) become_player(child, log, signals, parent, argv.data());
  const int fork_error = errno;
  if (log >= 0) close(log);
  if (child.pid < 0) {
    return make_error(ErrorCode::kIo,
                      std::string("cannot start a player: ") + std::strerror(fork_error));
  }
  return {};
}

void signal_all(const std::vector<Child>& children, int number) {
  for (const Child& child : children) {
    if (child.pid > 0 && !child.ended) kill(child.pid, number);
  }
}

std::string how_it_ended(const Child& child) {
  if (WIFSIGNALED(child.status)) {
    return "was killed by signal " + std::to_string(WTERMSIG(child.status));
  }
  return "ended with exit code " + std::to_string(WEXITSTATUS(child.status)) + " (" +
         to_string(static_cast<ErrorCode>(WEXITSTATUS(child.status))) + ")";
}

bool lost_a_peer(const Child& child) {
  return WIFEXITED(child.status) &&
         WEXITSTATUS(child.status) == static_cast<int>(ErrorCode::kPeerLost);
}

/// The last line of a text file, made safe to print; empty if there is none.
std::string last_line(const std::string& path) {
  std::ifstream file(path);
  std::string last;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) last = line;
  }
  for (char& c : last) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return last;
}

/// All players, from their start to their end.
class Players {
 public:
  Players(const LaunchCommand& options, const std::string& peers, std::vector<Child>& children,
          const AwaitedSignals& signals)
      : options_(options), peers_(peers), children_(children), signals_(signals) {}
  ~Players() {
    for (const Child& child : children_) {
      if (child.listener >= 0) close(child.listener);
    }
  }
  Players(const Players&) = delete;             // closes the descriptors once
  Players& operator=(const Players&) = delete;  // closes the descriptors once

  Result<void> start_one(Child& child) {
    child.ended = false;
    return start(options_, child, peers_, children_.size(), signals_.before());
  }

  /// Waits for all. The others notice a lost player by themselves; whoever does not is ended.
  void wait_for_all() {
    while (reap()) {
      restart_who_is_due();
      const int number = signals_.wait();
      if (number != 0 && number != SIGCHLD) {
        stopped_ = true;
        ask_to_stop(SIGTERM);  // a shell lets its background jobs ignore SIGINT
      } else if (Clock::now() >= ask_again_) {
        ask_to_stop(asked_ ? SIGKILL : SIGTERM);
      }
    }
  }

  /// The players have their listening descriptors; who is started again needs its own once more.
  void let_go() {
    if (options_.restarts > 0) return;
    for (Child& child : children_) close(std::exchange(child.listener, -1));
  }

  void ask_to_stop(int number) {
    signal_all(children_, number);
    for (Child& child : children_) child.restart_at.reset();
    asked_ = true;
    ask_again_ = Clock::now() + kStopGrace;
  }

  const Child* first_failed() const { return first_failed_; }
  bool stopped() const { return stopped_; }

 private:
  /// Whether any is left.
  bool reap() {
    bool left = false;
    for (std::size_t rank = 0; rank < children_.size(); ++rank) {
      Child& child = children_[rank];
      left = left || child.restart_at.has_value();
      if (child.pid < 0 || child.ended) continue;
      const pid_t pid = waitpid(child.pid, &child.status, WNOHANG);
      child.ended = pid == child.pid || (pid < 0 && errno != EINTR);
      left = left || !child.ended;
      if (child.ended && may_restart(child)) {
        plan_restart(child);
        left = true;
      } else if (child.ended && child.status != 0) {
        report_failure(rank);
      }
    }
    return left;
  }

  /// A signal says nothing against another try; an exit code was decided on.
  bool may_restart(const Child& child) const {
    return WIFSIGNALED(child.status) && child.restarts < options_.restarts && !asked_ &&
           !stopped_ && first_failed_ == nullptr;
  }

  void plan_restart(Child& child) {
    const auto pause = std::min(kLastPause, kFirstPause * (1u << std::min(child.restarts, 10u)));
    ++child.restarts;
    child.restart_at = Clock::now() + pause;
    std::fprintf(stderr, "beaverpond: player %zu %s; restart %u of %u, in %.2f s\n", child.rank,
                 how_it_ended(child).c_str(), child.restarts, options_.restarts,
                 std::chrono::duration<double>(pause).count());
  }

  void restart_who_is_due() {
    for (Child& child : children_) {
      if (!child.restart_at.has_value() || Clock::now() < *child.restart_at) continue;
      child.restart_at.reset();
      const Result<void> started = start_one(child);
      if (started.ok()) continue;
      std::fprintf(stderr, "beaverpond: %s\n", started.error().message.c_str());
      child.ended = true;  // with the status that it had
      report_failure(child.rank);
    }
  }

  void report_failure(std::size_t rank) {
    const Child& child = children_[rank];
    if (stopped_) return;
    if (!asked_) {
      std::string log;  // player 0's output is the launcher's own
      if (rank != 0) {
        const std::string path = child.home + "/player.log";
        log = "; its log is " + path + " and ends with:\n  " + last_line(path);
      }
      std::fprintf(stderr, "beaverpond: player %zu %s%s\n", rank, how_it_ended(child).c_str(),
                   log.c_str());
    }
    if (first_failed_ == nullptr) ask_again_ = Clock::now() + kFailureGrace;
    // Who lost a peer is a witness, not the cause, although its end may be seen first.
    if (first_failed_ == nullptr || (lost_a_peer(*first_failed_) && !lost_a_peer(child))) {
      first_failed_ = &child;
    }
  }

  const LaunchCommand& options_;
  const std::string& peers_;
  std::vector<Child>& children_;
  const AwaitedSignals& signals_;
  const Child* first_failed_ = nullptr;
  Clock::time_point ask_again_ = Clock::time_point::max();
  bool asked_ = false;
  bool stopped_ = false;
};

/// Sums the players' reports; player 0's other fields stand for all.
Result<void> collect_reports(const LaunchCommand& options, const std::vector<Child>& children) {
  if (options.report.empty()) return {};
  double bytes = 0;
  JsonFields fields;
  for (const Child& child : children) {
    BP_ASSIGN(JsonFields report, read_json_file(child.report));
    bytes += json_number(report, "bytes_sent");
    if (fields.empty()) fields = std::move(report);
  }
  for (auto& [name, value] : fields) {
    if (name == "bytes_sent") value = static_cast<std::uint64_t>(bytes);
  }
  fields.emplace_back("players", static_cast<std::uint64_t>(children.size()));
  return write_report(options.report, fields);
}

Result<std::vector<Child>> prepare_children(const LaunchCommand& options, std::string& peers) {
  BP_ASSIGN(const Roster roster, read_roster_file(Home{options.homes + "/player0"}.roster_path()));
  std::vector<Child> children(roster.players.size());
  for (std::size_t rank = 0; rank < children.size(); ++rank) {
    Child& child = children[rank];
    child.rank = rank;
    child.home = options.homes + "/player" + std::to_string(rank);
    child.report = child.home + "/report.json";
    unlink(child.report.c_str());
    BP_ASSIGN(const Listener listener, listen_on("127.0.0.1", 0));
    child.listener = listener.descriptor;
    if (rank != 0) peers += ',';
    peers.append("127.0.0.1:").append(std::to_string(listener.port));
  }
  return children;
}

}  // namespace

Result<void> run_launch(const LaunchCommand& options) {
  if (options.arguments.empty() ||
      (options.arguments[0] != "train" && options.arguments[0] != "infer")) {
    return make_error(ErrorCode::kConfig,
                      "launch: say what to run, as in `beaverpond launch --homes DIR train JOB`");
  }
  if (options.restarts > 0 && options.arguments[0] != "train") {
    return make_error(ErrorCode::kConfig,
                      "launch --restart is for `train`, which goes on from checkpoints; run `" +
                          options.arguments[0] + "` again from its beginning");
  }
  BP_TRY(check_output_path(options.report));
  std::string peers;
  BP_ASSIGN(std::vector<Child> children, prepare_children(options, peers));
  const AwaitedSignals signals;
  Players players(options, peers, children, signals);
  for (Child& child : children) {
    Result<void> started = players.start_one(child);
    if (!started.ok()) {
      players.ask_to_stop(SIGTERM);
      players.wait_for_all();
      return started;
    }
  }
  players.let_go();
  players.wait_for_all();
  if (players.stopped()) {
    return make_error(ErrorCode::kCancelled,
                      "stopped on request; the bundles that the players had leased are burned");
  }
  const Child* failed = players.first_failed();
  if (failed == nullptr) return collect_reports(options, children);
  ErrorCode code = ErrorCode::kPeerLost;
  if (WIFEXITED(failed->status)) code = static_cast<ErrorCode>(WEXITSTATUS(failed->status));
  return make_error(code, "a player failed first: " + failed->home + " " + how_it_ended(*failed));
}

}  // namespace beaverpond
