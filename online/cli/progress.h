// Progress of a run: one rewritten line on a terminal, one JSON line a step otherwise.
#pragma once

#include <chrono>
#include <string>

#include "online/cli/json_line.h"

namespace beaverpond {

class Progress {
 public:
  /// `json`: JSON lines even on a terminal.
  explicit Progress(bool json);
  ~Progress();

  /// `line` is shown at most ten times a second, `fields` always.
  void step(const std::string& line, const JsonFields& fields, bool last);
  /// A message that stays; on stderr.
  void notice(const std::string& text);
  /// The run's last JSON line.
  void result(const JsonFields& fields);

  bool on_terminal() const { return terminal_; }

 private:
  void end_line();

  bool terminal_;
  bool open_line_ = false;
  std::chrono::steady_clock::time_point shown_;
};

}  // namespace beaverpond
