#include "online/cli/progress.h"

#include <unistd.h>

#include <cstdio>

namespace beaverpond {

Progress::Progress(bool json) : terminal_(!json && isatty(STDOUT_FILENO) == 1) {}

Progress::~Progress() {
  end_line();
}

void Progress::end_line() {
  if (open_line_) std::fputc('\n', stdout);
  open_line_ = false;
  std::fflush(stdout);
}

void Progress::step(const std::string& line, const JsonFields& fields, bool last) {
  if (!terminal_) {
    std::printf("%s\n", json_line(fields).c_str());
    std::fflush(stdout);
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  if (!last && open_line_ && now - shown_ < std::chrono::milliseconds(100)) return;
  shown_ = now;
  std::printf("\r\x1b[K%s", line.c_str());
  open_line_ = true;
  if (last) end_line();
  std::fflush(stdout);
}

void Progress::notice(const std::string& text) {
  end_line();
  std::fprintf(stderr, "beaverpond: %s\n", text.c_str());
}

void Progress::result(const JsonFields& fields) {
  end_line();
  std::printf("%s\n", json_line(fields).c_str());
  std::fflush(stdout);
}

}  // namespace beaverpond
