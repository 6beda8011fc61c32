// What the example programs share: flags, files of numbers, and the three ways to run.
//
//   PROGRAM --plan-out FILE            writes the plan for triple-factory
//   PROGRAM --plaintext --data FILE .. runs in the clear, with one file for every input, in order
//   PROGRAM --home DIR [--data FILE]   one player's part; --data where it owns an input
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "beaverpond/run.h"

namespace beaverpond::examples {

/// Flags by name, "--hours 2", as the command line or else their default gives them.
class Flags {
 public:
  /// `defaults` names the flags that exist besides those above. Errors: kConfig.
  static Result<Flags> parse(int argc, char** argv,
                             const std::map<std::string, std::string>& defaults);

  /// --prg: what expands seeds; the same for the plan and on all players. Errors: kConfig.
  Result<PrgKind> prg() const;
  const std::string& text(const std::string& name) const { return values_.at(name); }
  /// Errors: kConfig, naming the flag.
  Result<double> number(const std::string& name) const;
  Result<std::uint32_t> count(const std::string& name) const;
  /// "3,4,5".
  Result<std::vector<std::uint32_t>> counts(const std::string& name) const;

  bool plaintext() const { return plaintext_; }
  bool help() const { return help_; }
  const std::vector<std::string>& data() const { return data_; }

 private:
  std::map<std::string, std::string> values_;
  std::vector<std::string> data_;
  bool plaintext_ = false;
  bool help_ = false;
};

struct Example {
  std::string about;  ///< one line
  std::map<std::string, std::string> flags;
  /// The program; depends on flags only, which are public and the same for all players.
  std::function<Result<RecordedProgram>(const Flags&)> record;
  /// Prints what was learned, if anything.
  std::function<void(const Flags&, const NamedValues&)> show;
};

/// Numbers separated by white space or commas. Errors: kIo, kConfig (file, line).
Result<std::vector<double>> read_numbers(const std::string& path);

/// Returns the exit code.
int run_example(int argc, char** argv, const Example& example);

}  // namespace beaverpond::examples
