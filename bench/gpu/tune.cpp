#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "bench/gpu/cases.h"
#include "bench/gpu/tensors.h"
#include "kernels/device_module.h"
#include "kernels/product_rates.h"

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
  ProductTuning tuning;
  tuning.method = method;
  BP_ASSIGN(const std::unique_ptr<Backend> made, module.make_backend(0, tuning));
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
  std::map<ProductMethod, const char*> methods = {{ProductMethod::kWords, "words"},
                                                  {ProductMethod::kResidues, "residues"},
                                                  {ProductMethod::kDigits, "digits"},
                                                  {ProductMethod::kLibrary, "cuBLASLt"},
                                                  {ProductMethod::kAuto, "auto"}};
  // The device's own name, without what a backend's says beside it.
  std::string device_name;
  {
    BP_ASSIGN(const std::unique_ptr<Backend> first, module->make_backend(0, {}));
    const std::string name = first->name();
    const std::size_t begin = name.find('(') + 1;
    device_name = name.substr(begin, name.rfind(") with ") - begin);
    ProductTuning library;
    library.method = ProductMethod::kLibrary;
    if (const auto made = module->make_backend(0, library); !made.ok()) {
      std::printf("without cuBLASLt: %s\n", made.error().message.c_str());
      methods.erase(ProductMethod::kLibrary);
    }
  }
  std::map<ProductMethod, std::vector<double>> seconds;
  for (const auto& [method, name] : methods) {
    BP_ASSIGN(seconds[method], times_of(*module, method, options));
  }
  std::printf("%-20s", "m x n x k, us");
  for (const auto& [method, name] : methods) std::printf("%12s", name);
  std::printf("\n");
  double words_rate = 0;
  double digits_rate = 0;
  for (std::size_t i = 0; i < sizes().size(); ++i) {
    const Size& s = sizes()[i];
    const std::string size =
        std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k);
    std::printf("%-20s", size.c_str());
    for (const auto& [method, name] : methods) std::printf("%12.1f", seconds[method][i] * 1e6);
    std::printf("\n");
    if (seconds[ProductMethod::kWords][i] > 0) {
      words_rate = std::max(words_rate, s.macs() / seconds[ProductMethod::kWords][i]);
      digits_rate = std::max(digits_rate, s.macs() / seconds[ProductMethod::kDigits][i]);
    }
  }
  const auto square = [&](ProductMethod method, std::uint64_t n) {
    for (std::size_t i = 0; i < sizes().size(); ++i) {
      const Size& s = sizes()[i];
      if (s.m == n && s.n == n && s.k == n) return seconds[method][i];
    }
    return 0.0;
  };
  if (options.quick) return {};  // the large squares were left out
  ProductTimes times;
  times.words_macs_per_second = words_rate;
  times.digit_macs_per_second = digits_rate;
  times.tiny_residues = square(ProductMethod::kResidues, 128);
  times.residues = {2048, square(ProductMethod::kResidues, 2048),
                    square(ProductMethod::kResidues, 4096)};
  if (methods.contains(ProductMethod::kLibrary)) {
    times.library = {2048, square(ProductMethod::kLibrary, 2048),
                     square(ProductMethod::kLibrary, 4096)};
  }
  DeviceRates row;
  BP_ASSIGN(row.rates, fit_product_rates(times));
  row.device = device_name;
  const std::string path = product_rates_path();
  std::printf("%s", format_product_rates({row}).c_str());
  if (path.empty()) {
    std::printf("not kept: neither BEAVERPOND_GPU_RATES nor HOME names a place\n");
    return {};
  }
  BP_TRY(save_product_rates(row, path));
  std::printf("kept in %s, where backends read it\n", path.c_str());
  return {};
}

}  // namespace beaverpond
