#include "tests/online/cli/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>

#include "beaverpond/check.h"

namespace beaverpond::testing {
namespace {

using Clock = std::chrono::steady_clock;

int open_output(const std::string& path, ProcessOptions::Out kind = ProcessOptions::Out::kFile) {
  if (kind == ProcessOptions::Out::kFull) return ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  if (kind == ProcessOptions::Out::kBrokenPipe) {
    int ends[2];
    BP_CHECK(::pipe2(ends, O_CLOEXEC) == 0, "a test can make a pipe");
    ::close(ends[0]);
    return ends[1];
  }
  const int descriptor = ::open(path.empty() ? "/dev/null" : path.c_str(),
                                O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  BP_CHECK(descriptor >= 0, "a test can write its output files");
  return descriptor;
}

/// In the child: only calls that are safe after fork in a program with threads.
[[noreturn]] void become(const ProcessOptions& options, int in, int out, int err,
                         char* const* argv) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // GoogleTest's runner may have set these; a program starts with the defaults.
  ::signal(SIGPIPE, SIG_DFL);
  ::signal(SIGINT, SIG_DFL);
  ::dup2(in, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  if (options.kind == ProcessOptions::Out::kClosed) ::close(STDOUT_FILENO);
  if (options.descriptor == 3) ::fcntl(3, F_SETFD, 0);
  if (options.descriptor > 3) ::dup2(options.descriptor, 3);
  ::execv(argv[0], argv);
  ::_exit(127);
}

}  // namespace

Process::Process(pid_t pid) : pid_(pid), start_(Clock::now()) {}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      ended_(other.ended_),
      status_(other.status_),
      seconds_(other.seconds_),
      start_(other.start_) {}

Process Process::start(const ProcessOptions& options) {
  std::vector<char*> argv;
  for (const std::string& argument : options.arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const int in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int out = open_output(options.out, options.kind);
  const int err = open_output(options.err);
  const pid_t pid = ::fork();
  if (pid == 0) become(options, in, out, err, argv.data());
  BP_CHECK(pid > 0, "a test can start processes");
  ::setpgid(pid, pid);  // also here: whoever comes first
  for (const int descriptor : {in, out, err}) ::close(descriptor);
  return Process(pid);
}

Process::~Process() {
  if (pid_ < 0) return;
  ::kill(-pid_, SIGKILL);
  if (!ended_) ::waitpid(pid_, nullptr, 0);
}

void Process::send(int signal) const {
  BP_CHECK(!ended_ && ::kill(pid_, signal) == 0, "the process is there");
}

void Process::send_to_group(int signal) const {
  BP_CHECK(!ended_ && ::kill(-pid_, signal) == 0, "the process group is there");
}

int Process::wait(std::chrono::milliseconds limit) {
  const Clock::time_point until = Clock::now() + limit;
  while (!ended_) {
    if (::waitpid(pid_, &status_, WNOHANG) == pid_) {
      ended_ = true;
      seconds_ = std::chrono::duration<double>(Clock::now() - start_).count();
      break;
    }
    if (Clock::now() >= until) return kHung;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
}

Outcome run_program(const std::vector<std::string>& arguments, const std::string& folder,
                    std::chrono::milliseconds limit) {
  ProcessOptions options;
  options.arguments = arguments;
  options.out = folder + "/out.txt";
  options.err = folder + "/err.txt";
  Process process = Process::start(options);
  Outcome outcome;
  outcome.code = process.wait(limit);
  outcome.seconds = process.seconds();
  outcome.out = read_text(options.out);
  outcome.err = read_text(options.err);
  return outcome;
}

std::string read_text(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  BP_CHECK(bool(file), "a test can write its files");
}

bool wait_for_text(const std::string& path, const std::string& text,
                   std::chrono::milliseconds limit) {
  const Clock::time_point until = Clock::now() + limit;
  while (read_text(path).find(text) == std::string::npos) {
    if (Clock::now() >= until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

std::vector<pid_t> processes_with(const std::string& text) {
  std::vector<pid_t> found;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
    const std::string name = entry.path().filename();
    if (!std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      continue;
    }
    const auto pid = static_cast<pid_t>(std::stol(name));
    if (pid == ::getpid()) continue;
    // A zombie has no command line left.
    if (read_text(entry.path().string() + "/cmdline").find(text) != std::string::npos) {
      found.push_back(pid);
    }
  }
  return found;
}

}  // namespace beaverpond::testing
