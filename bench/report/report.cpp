#include "bench/report/report.h"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>

#include "beaverpond/check.h"

namespace beaverpond {
namespace {

double seconds_of_clock(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

nlohmann::ordered_json to_json(const BenchRow& row) {
  nlohmann::ordered_json out = {{"name", row.name},          {"value", row.value},
                                {"unit", row.unit},          {"reference", nullptr},
                                {"reference_kind", nullptr}, {"reference_value", nullptr},
                                {"ratio", nullptr}};
  if (row.reference.has_value()) {
    out["reference"] = row.reference->name;
    out["reference_kind"] = row.reference->kind;
    out["reference_value"] = row.reference->value;
    out["ratio"] = ratio(row);
  }
  for (const auto& [key, value] : row.extra) out[key] = value;
  return out;
}

}  // namespace

double ratio(const BenchRow& row) {
  BP_CHECK(row.reference.has_value(), "a ratio needs a reference");
  return row.unit == "s" ? row.reference->value / row.value : row.value / row.reference->value;
}

std::optional<BenchOptions> parse_bench_options(int argc, char** argv) {
  BenchOptions options;
  options.examples = BEAVERPOND_EXAMPLES;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--quick") {
      options.quick = true;
    } else if (option == "--json" && i + 1 < argc) {
      options.json_path = argv[++i];
    } else if (option == "--examples" && i + 1 < argc) {
      options.examples = argv[++i];
    } else if (option == "--only" && i + 1 < argc) {
      options.only = argv[++i];
    } else {
      std::fprintf(stderr, "usage: %s [--json FILE] [--examples DIR] [--only NAME] [--quick]\n",
                   argv[0]);
      return std::nullopt;
    }
  }
  return options;
}

void BenchReport::add(BenchRow row) {
  std::printf("%-24s %12.4g %-10s", row.name.c_str(), row.value, row.unit.c_str());
  if (row.reference.has_value()) {
    std::printf(" %8.2fx %s (%s)", ratio(row), row.reference->name.c_str(),
                row.reference->kind.c_str());
  }
  std::printf("\n");
  std::fflush(stdout);
  rows_.push_back(std::move(row));
}

void BenchReport::fail(const std::string& name, const std::string& why) {
  std::printf("%-24s FAILED: %s\n", name.c_str(), why.c_str());
  std::fflush(stdout);
  ++failures_;
}

int BenchReport::finish(const std::string& json_path) const {
  if (!json_path.empty()) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const BenchRow& row : rows_) list.push_back(to_json(row));
    std::ofstream file(json_path);
    file << list.dump(2) << "\n";
    if (!file.flush()) {
      std::fprintf(stderr, "cannot write %s\n", json_path.c_str());
      return 1;
    }
  }
  return failures_ == 0 ? 0 : 1;
}

double median(std::vector<double> values) {
  BP_CHECK(!values.empty(), "the median of nothing");
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double process_cpu_seconds() {
  return seconds_of_clock(CLOCK_PROCESS_CPUTIME_ID);
}

double thread_cpu_seconds() {
  return seconds_of_clock(CLOCK_THREAD_CPUTIME_ID);
}

int bench_main(int argc, char** argv, int (*run)(const BenchOptions& options)) {
  try {
    const auto options = parse_bench_options(argc, argv);
    return options.has_value() ? run(*options) : 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

int bench_on_disk(
    const BenchOptions& options, const std::string& name, const std::string& folder,
    const std::function<Result<void>(BenchReport& report, const std::string& folder)>& measure) {
  BenchReport report;
  if (options.wants(name)) {
    const std::filesystem::path json(options.json_path);
    const std::filesystem::path beside = json.has_parent_path() ? json.parent_path() : ".";
    const std::filesystem::path root = std::filesystem::absolute(beside) / folder;
    std::filesystem::remove_all(root);
    std::filesystem::create_directories(root);
    const Result<void> done = measure(report, root);
    if (!done.ok()) report.fail(name, done.error().message);
    std::filesystem::remove_all(root);
  }
  return report.finish(options.json_path);
}

}  // namespace beaverpond
