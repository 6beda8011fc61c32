// Starts all players of one host: binds a free port for each, passes the descriptors, waits.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "online/cli/commands.h"
#include "online/cli/json_line.h"
#include "online/transport/tls.h"

namespace beaverpond {
namespace {

constexpr int kChildDescriptor = 3;

struct Child {
  pid_t pid = -1;
  int listener = -1;
  std::string home;
  std::string report;
  int status = 0;
  bool ended = false;
};

volatile sig_atomic_t stop_signal = 0;
void remember_signal(int number) { stop_signal = number; }

std::vector<std::string> child_arguments(const LaunchCommand& options, const Child& child,
                                         const std::string& peers) {
  std::vector<std::string> arguments = {"/proc/self/exe"};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  for (const std::string& extra :
       {std::string("--home"), child.home, std::string("--listen-fd"),
        std::to_string(kChildDescriptor), std::string("--peers"), peers, std::string("--report"),
        child.report}) {
    arguments.push_back(extra);
  }
  return arguments;
}

/// In the child, between fork and exec: only async-signal-safe calls.
[[noreturn]] void become_player(const Child& child, int log, char* const* argv) {
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
                   bool quiet) {
  const std::vector<std::string> arguments = child_arguments(options, child, peers);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  int log = -1;
  if (quiet) {
    const std::string path = child.home + "/player.log";
    log = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (log < 0) {
      return make_error(ErrorCode::kIo, "cannot write " + path + ": " + std::strerror(errno));
    }
  }
  child.pid = fork();
  if (child.pid == 0) become_player(child, log, argv.data());
  const int fork_error = errno;
  if (log >= 0) close(log);
  if (child.pid < 0) {
    return make_error(ErrorCode::kIo, std::string("cannot start a player: ") +
                                          std::strerror(fork_error));
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

/// Waits for all; the others notice a lost player by themselves. Returns the first that failed.
const Child* wait_for_all(std::vector<Child>& children) {
  const Child* first_failed = nullptr;
  std::size_t running = children.size();
  while (running > 0) {
    int status = 0;
    const pid_t pid = waitpid(-1, &status, 0);
    if (pid < 0 && errno == EINTR) {
      if (stop_signal != 0) signal_all(children, stop_signal);
      continue;
    }
    if (pid < 0) break;
    for (std::size_t rank = 0; rank < children.size(); ++rank) {
      Child& child = children[rank];
      if (child.pid != pid) continue;
      child.ended = true;
      child.status = status;
      --running;
      if (status == 0) continue;
      std::fprintf(stderr, "beaverpond: player %zu %s; its log is %s/player.log\n", rank,
                   how_it_ended(child).c_str(), child.home.c_str());
      if (first_failed == nullptr) first_failed = &child;
    }
  }
  return first_failed;
}

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
  std::string peers;
  BP_ASSIGN(std::vector<Child> children, prepare_children(options, peers));
  struct sigaction action {};
  action.sa_handler = remember_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  for (std::size_t rank = 0; rank < children.size(); ++rank) {
    Result<void> started = start(options, children[rank], peers, rank != 0);
    if (!started.ok()) {
      signal_all(children, SIGTERM);
      wait_for_all(children);
      return started;
    }
  }
  for (const Child& child : children) close(child.listener);
  const Child* failed = wait_for_all(children);
  if (failed == nullptr) return collect_reports(options, children);
  ErrorCode code = ErrorCode::kPeerLost;
  if (WIFEXITED(failed->status)) code = static_cast<ErrorCode>(WEXITSTATUS(failed->status));
  return make_error(code, "a player failed first: " + failed->home + " " + how_it_ended(*failed));
}

}  // namespace beaverpond
