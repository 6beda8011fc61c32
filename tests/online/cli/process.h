// Child processes of a test: each ends before the test does, whatever happens.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace beaverpond::testing {

struct ProcessOptions {
  std::vector<std::string> arguments;  ///< the first is the program's path
  std::string out;                     ///< file for standard output; empty: /dev/null
  std::string err;
  int descriptor = -1;  ///< passed on as number 3; stays the caller's
  enum class Out : std::uint8_t { kFile, kClosed, kBrokenPipe, kFull };
  Out kind = Out::kFile;  ///< what standard output is
};

/// One process in a process group of its own. The destructor kills the group.
class Process {
 public:
  static Process start(const ProcessOptions& options);
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }
  void send(int signal) const;
  void send_to_group(int signal) const;

  /// The exit code, 128 + the number of the signal that ended it, or kHung if it still runs after
  /// `limit`.
  int wait(std::chrono::milliseconds limit);
  /// Seconds since the start, when wait() saw the end.
  double seconds() const { return seconds_; }

  static constexpr int kHung = -1;

 private:
  explicit Process(pid_t pid);
  pid_t pid_;
  bool ended_ = false;
  int status_ = 0;
  double seconds_ = 0;
  std::chrono::steady_clock::time_point start_;
};

/// What a run of a program left behind.
struct Outcome {
  int code = 0;  ///< as Process::wait()
  std::string out;
  std::string err;
  double seconds = 0;
};

/// Runs to the end; output passes through files in `folder`.
Outcome run_program(const std::vector<std::string>& arguments, const std::string& folder,
                    std::chrono::milliseconds limit = std::chrono::seconds(20));

std::string read_text(const std::string& path);
void write_text(const std::string& path, const std::string& text);

/// Polls until `path` contains `text`.
bool wait_for_text(const std::string& path, const std::string& text,
                   std::chrono::milliseconds limit);

/// Processes whose command line contains `text`.
std::vector<pid_t> processes_with(const std::string& text);

}  // namespace beaverpond::testing
