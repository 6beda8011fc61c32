// What a device does: kernels against its own memory bandwidth and against the CPU, bundles dealt
// and steps trained. Without a GPU it says so and skips, with exit code 0.
//
//   beaverpond-gpu-bench [--json FILE] [--examples DIR] [--only NAME] [--quick]
//   beaverpond-gpu-bench --tune [--quick]
#include <cstdio>
#include <exception>
#include <string_view>

#include "bench/gpu/cases.h"
#include "bench/gpu/tensors.h"
#include "kernels/make_backend.h"

namespace beaverpond {
namespace {

int run(const BenchOptions& options, bool only_tune) {
  const auto make = [] { return make_backend("cuda"); };
  Result<MadeBackend> made = make();
  if (!made.ok()) {
    std::printf("skipped: %s\n", made.error().message.c_str());
    return 0;
  }
  std::printf("%s; inputs by %s\n", made.value().line.c_str(), input_source().line().c_str());
  if (only_tune) {
    made.value().backend.reset();
    const Result<void> tuned = tune(options);
    if (!tuned.ok()) std::fprintf(stderr, "%s\n", tuned.error().message.c_str());
    return tuned.ok() ? 0 : 1;
  }
  BenchReport report;
  DeviceBench bench{*made.value().backend, options, report,
                    [&]() -> Result<std::unique_ptr<Backend>> {
                      BP_ASSIGN(MadeBackend another, make());
                      return std::move(another.backend);
                    }};
  run_device_cases(bench);
  run_job_cases(bench);
  return report.finish(options.json_path);
}

}  // namespace
}  // namespace beaverpond

int main(int argc, char** argv) {
  try {
    const bool only_tune = argc > 1 && std::string_view(argv[1]) == "--tune";
    if (only_tune) {
      argv[1] = argv[0];
      --argc;
      ++argv;
    }
    const auto options = beaverpond::parse_bench_options(argc, argv);
    return options.has_value() ? beaverpond::run(*options, only_tune) : 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
