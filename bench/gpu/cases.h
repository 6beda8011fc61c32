// The rows of the device benchmark.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "bench/report/report.h"
#include "kernels/backend.h"

namespace beaverpond {

struct DeviceBench {
  Backend& backend;
  const BenchOptions& options;
  BenchReport& report;
  std::function<Result<std::unique_ptr<Backend>>()> make_backend;  ///< one more of the same device
  double copy_bytes_per_second = 0;  ///< measured, read and written bytes counted

  double least_seconds() const { return options.quick ? 0.02 : 0.3; }
};

/// Memory copies, streams, products, convolutions, rounds of a ReLU. Each result is verified first:
/// streams, convolutions and ReLU word by word against the CPU's backend, products by three random
/// vectors.
void run_device_cases(DeviceBench& bench);
/// Bundles dealt (every byte as the CPU's dealer) and training steps of two players (weights as the
/// plaintext twin's).
void run_job_cases(DeviceBench& bench);

/// Times products of many shapes by each method and prints them, and keeps the rates that explain
/// them where backends read them (kernels/product_rates.h). With `quick` only prints.
Result<void> tune(const BenchOptions& options);

}  // namespace beaverpond
