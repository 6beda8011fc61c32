#include "online/examples/example.h"

#include <charconv>
#include <cstdio>
#include <fstream>
#include <sstream>

namespace beaverpond::examples {
namespace {

Error flag_error(const std::string& name, const std::string& value, const char* wanted) {
  return make_error(ErrorCode::kConfig, "--" + name + " " + value + ": give " + wanted);
}

template <class T>
bool read_as(const std::string& text, T& out) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, out);
  return error == std::errc() && stop == end;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

/// Every input from its file, in the program's order; or those of player `rank`.
Result<NamedValues> read_inputs(const RecordedProgram& program, const Flags& flags, int rank) {
  NamedValues inputs;
  std::size_t used = 0;
  for (const RecordedInput& input : program.inputs) {
    if (rank >= 0 && static_cast<int>(input.owner) != rank) continue;
    if (used == flags.data().size()) {
      return make_error(ErrorCode::kConfig,
                        "'" + input.name + "' is missing; give its file with --data FILE");
    }
    BP_ASSIGN(inputs[input.name], read_numbers(flags.data()[used++]));
  }
  if (used == flags.data().size()) return inputs;
  return make_error(ErrorCode::kConfig, "--data is given " + std::to_string(flags.data().size()) +
                                            " times, but there are " + std::to_string(used) +
                                            " inputs to give here");
}

Result<NamedValues> run_player(const RecordedProgram& program, const Flags& flags) {
  RunOptions options;
  options.home = flags.text("home");
  if (!flags.text("peers").empty()) options.peers = split(flags.text("peers"));
  if (!flags.text("listen-fd").empty()) {
    BP_ASSIGN(const std::uint32_t descriptor, flags.count("listen-fd"));
    options.listen_descriptor = static_cast<int>(descriptor);
  }
  options.device = flags.text("device");
  options.on_notice = [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); };
  BP_ASSIGN(const int rank, rank_of_home(options.home));
  BP_ASSIGN(const NamedValues inputs, read_inputs(program, flags, rank));
  BP_ASSIGN(const RunReport report, run_player_blocking(program, inputs, options));
  std::fprintf(stderr, "player %d: %.3f s, %llu rounds, %llu bytes sent\n", report.rank,
               report.seconds, static_cast<unsigned long long>(report.rounds),
               static_cast<unsigned long long>(report.bytes_sent));
  return report.revealed;
}

Result<void> run(int argc, char** argv, const Example& example) {
  BP_ASSIGN(const Flags flags, Flags::parse(argc, argv, example.flags));
  if (flags.help()) {
    std::string own;
    for (const auto& [name, value] : example.flags) own += " [--" + name + " " + value + "]";
    std::printf(
        "%s\n%s%s (--plan-out FILE | --plaintext --data FILE .. | --home DIR "
        "[--data FILE] [--peers HOST:PORT,..] [--device D]) [--prg "
        "aes128-ctr|chacha20]\n",
        example.about.c_str(), argv[0], own.c_str());
    return {};
  }
  BP_ASSIGN(RecordedProgram program, example.record(flags));
  BP_ASSIGN(program.prg, flags.prg());
  if (!flags.text("plan-out").empty()) return save_plan(program, flags.text("plan-out"));
  NamedValues learned;
  if (flags.plaintext()) {
    BP_ASSIGN(const NamedValues inputs, read_inputs(program, flags, -1));
    BP_ASSIGN(learned, run_in_plaintext(program, inputs));
  } else if (!flags.text("home").empty()) {
    BP_ASSIGN(learned, run_player(program, flags));
  } else {
    return make_error(ErrorCode::kConfig, example.about +
                                              "; say how to run: --plan-out FILE, --plaintext "
                                              "--data FILE .., or --home DIR [--data FILE]");
  }
  example.show(flags, learned);
  return {};
}

}  // namespace

Result<Flags> Flags::parse(int argc, char** argv,
                           const std::map<std::string, std::string>& defaults) {
  Flags flags;
  flags.values_ = defaults;
  for (const char* name : {"home", "plan-out", "peers", "listen-fd"}) flags.values_[name] = "";
  flags.values_["device"] = "auto";
  flags.values_["prg"] = to_string(PrgKind::kAes128Ctr);
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const std::string name = flag.rfind("--", 0) == 0 ? flag.substr(2) : "";
    if (name == "help" || flag == "-h") {
      flags.help_ = true;
      return flags;
    }
    if (name == "plaintext") {
      flags.plaintext_ = true;
      continue;
    }
    const bool known = name == "data" || flags.values_.count(name) != 0;
    if (!known || i + 1 == argc) {
      std::string all = "--plaintext --data";
      for (const auto& [other, value] : flags.values_) all += " --" + other;
      return make_error(ErrorCode::kConfig,
                        flag + (known ? " needs a value" : " is no flag; there are " + all));
    }
    if (name == "data") {
      flags.data_.emplace_back(argv[++i]);
    } else {
      flags.values_[name] = argv[++i];
    }
  }
  return flags;
}

Result<PrgKind> Flags::prg() const {
  for (const PrgKind kind : {PrgKind::kAes128Ctr, PrgKind::kChaCha20}) {
    if (text("prg") == to_string(kind)) return kind;
  }
  return flag_error("prg", text("prg"), "aes128-ctr, or chacha20 where GPUs deal or compute");
}

Result<double> Flags::number(const std::string& name) const {
  double out = 0;
  if (!read_as(text(name), out)) return flag_error(name, text(name), "a number");
  return out;
}

Result<std::uint32_t> Flags::count(const std::string& name) const {
  std::uint32_t out = 0;
  if (!read_as(text(name), out)) return flag_error(name, text(name), "a whole number");
  return out;
}

Result<std::vector<std::uint32_t>> Flags::counts(const std::string& name) const {
  std::vector<std::uint32_t> out;
  for (const std::string& part : split(text(name))) {
    if (!read_as(part, out.emplace_back())) {
      return flag_error(name, text(name), "whole numbers, as in 3,4,5");
    }
  }
  return out;
}

Result<std::vector<double>> read_numbers(const std::string& path) {
  std::ifstream file(path);
  if (!file) return make_error(ErrorCode::kIo, path + ": cannot be read");
  std::vector<double> numbers;
  std::string line;
  for (int row = 1; std::getline(file, line); ++row) {
    for (char& c : line) c = c == ',' || c == '\t' || c == '\r' ? ' ' : c;
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      if (!read_as(word, numbers.emplace_back())) {
        return make_error(ErrorCode::kConfig, path + ", line " + std::to_string(row) + ": '" +
                                                  word + "' is not a number");
      }
    }
  }
  return numbers;
}

int run_example(int argc, char** argv, const Example& example) {
  protect_process();
  const Result<void> done = run(argc, argv, example);
  if (done.ok()) return 0;
  std::fprintf(stderr, "%s: %s\n", argv[0], done.error().message.c_str());
  return static_cast<int>(done.error().code);
}

}  // namespace beaverpond::examples
