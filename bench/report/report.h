// Rows of the benchmarks: what was measured, against what, and how it is written down.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

/// A figure of another system for the same work, in the row's unit.
struct Reference {
  std::string name;
  std::string kind;  ///< "measured" in this run, "recorded" on another machine
  double value = 0;
};

struct BenchRow {
  std::string name;
  double value = 0;
  std::string unit;  ///< "s": less is better; anything else is a rate
  std::optional<Reference> reference;
  std::vector<std::pair<std::string, double>> extra;  ///< "cpu_seconds", "bytes" and so on
};

/// Above 1: ours is faster.
double ratio(const BenchRow& row);

struct BenchOptions {
  std::string json_path;  ///< empty: only printed
  std::string examples;   ///< folder of the job files
  std::string only;       ///< a part of the names of the rows to run, "=" and a whole one, or empty
  bool quick = false;     ///< few repetitions: a smoke test

  bool wants(const std::string& name) const {
    return only.starts_with('=') ? name == only.substr(1) : name.find(only) != std::string::npos;
  }
};

/// `--json FILE`, `--examples DIR`, `--only NAME`, `--quick`. Prints the usage and returns nothing
/// otherwise.
std::optional<BenchOptions> parse_bench_options(int argc, char** argv);

/// main() of a program: run(options), or 2 after the usage, or 1 after what was thrown.
int bench_main(int argc, char** argv, int (*run)(const BenchOptions& options));

class BenchReport;

/// A program of one row that needs a disk: `measure(report, folder)` in a fresh folder of that name
/// beside the results (a temporary folder may be no disk), which is removed afterwards. Returns the
/// exit code.
int bench_on_disk(
    const BenchOptions& options, const std::string& name, const std::string& folder,
    const std::function<Result<void>(BenchReport& report, const std::string& folder)>& measure);

/// Collects rows and prints each as it comes. Only verified results become rows.
class BenchReport {
 public:
  void add(BenchRow row);
  /// A row that could not be measured, or whose result was wrong.
  void fail(const std::string& name, const std::string& why);
  const std::vector<BenchRow>& rows() const { return rows_; }
  /// Writes the rows as a JSON list. Returns the exit code: 0 if nothing failed.
  int finish(const std::string& json_path) const;

 private:
  std::vector<BenchRow> rows_;
  int failures_ = 0;
};

/// Not of an empty list.
double median(std::vector<double> values);

double process_cpu_seconds();  ///< of all threads, user and system
double thread_cpu_seconds();   ///< of the calling thread

}  // namespace beaverpond
