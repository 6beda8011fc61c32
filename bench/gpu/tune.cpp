#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "bench/gpu/cases.h"
#include "bench/gpu/tensors.h"
#include "kernels/device_module.h"

namespace beaverpond {
namespace {

struct Size {
  std::uint64_t m, n, k;
  double macs() const { return static_cast<double>(m * n) * static_cast<double>(k); }
};

const std::vector<Size>& sizes() {
  static const std::vector<Size> all = {
      {64, 64, 64},       {128, 128, 128},    {128, 128, 784}, {256, 256, 256},
      {384, 384, 384},    {512, 512, 512},    {768, 768, 768}, {1024, 1024, 1024},
      {2048, 2048, 2048}, {4096, 4096, 4096}, {73728, 20, 25}, {8192, 50, 500},
      {65536, 64, 576},   {65536, 128, 1152}, {128, 10, 500},  {500, 50, 8192}};
  return all;
}

Result<std::vector<double>> times_of(const DeviceModule& module, ProductMethod method,
                                     const BenchOptions& options) {
  BP_ASSIGN(const std::unique_ptr<Backend> made, module.make_backend_of(0, method));
  Backend& b = *made;
  std::vector<double> seconds;
  for (const Size& s : sizes()) {
    if (options.quick && s.macs() > 1e8) {
      seconds.push_back(0);
      continue;
    }
    const Buffer x = random_tensor(b, s.m * s.k, 1);
    const Buffer y = random_tensor(b, s.k * s.n, 2);
    const Buffer out = random_tensor(b, s.m * s.n, 3);
    seconds.push_back(time_on_device(b, options.quick ? 0.01 : 0.1, [&] {
      b.matmul({s.m, s.n, s.k, false, false}, x.words(), y.words(), out.words(), false,
               kHostStream);
    }));
  }
  return seconds;
}

}  // namespace

Result<void> tune(const BenchOptions& options) {
  BP_ASSIGN(const DeviceModule* const module, load_cuda_module());
  const std::map<ProductMethod, const char*> methods = {{ProductMethod::kWords, "words"},
                                                        {ProductMethod::kResidues, "residues"},
                                                        {ProductMethod::kAuto, "auto"}};
  std::map<ProductMethod, std::vector<double>> seconds;
  for (const auto& [method, name] : methods) {
    BP_ASSIGN(seconds[method], times_of(*module, method, options));
  }
  std::printf("%-20s", "m x n x k, us");
  for (const auto& [method, name] : methods) std::printf("%12s", name);
  std::printf("\n");
  double words_rate = 0;
  for (std::size_t i = 0; i < sizes().size(); ++i) {
    const Size& s = sizes()[i];
    const std::string size =
        std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k);
    std::printf("%-20s", size.c_str());
    for (const auto& [method, name] : methods) std::printf("%12.1f", seconds[method][i] * 1e6);
    std::printf("\n");
    if (seconds[ProductMethod::kWords][i] > 0) {
      words_rate = std::max(words_rate, s.macs() / seconds[ProductMethod::kWords][i]);
    }
  }
  // The residues' two rates from the two largest squares: converting grows with the square of n,
  // multiplying with the cube.
  const auto time_of_square = [&](std::uint64_t n) {
    for (std::size_t i = 0; i < sizes().size(); ++i) {
      const Size& s = sizes()[i];
      if (s.m == n && s.n == n && s.k == n) return seconds[ProductMethod::kResidues][i];
    }
    return 0.0;
  };
  const double small = time_of_square(2048);
  const double large = time_of_square(4096);
  if (small > 0 && large > 0) {
    // t(n) = c n^3 + d n^2
    const double cubes = (large - 4 * small) / (68719476736.0 - 4 * 8589934592.0);
    const double squares = (small - cubes * 8589934592.0) / 4194304.0;
    const double launch = time_of_square(128) / 4;
    std::printf("row for kernels/cuda/rates.cpp: {%.0f, %.0f, %.0f, %.0f}\n", words_rate * 1e-9,
                18 / cubes * 1e-9, 3 / squares * 1e-9, launch * 1e9);
  }
  return {};
}

}  // namespace beaverpond
