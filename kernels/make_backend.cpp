#include "kernels/make_backend.h"

#include <sched.h>

#include <algorithm>
#include <utility>

#include "kernels/device_module.h"
#include "kernels/pinning.h"
#include "kernels/product_rates.h"

namespace beaverpond {
namespace {

/// The one place that knows how a GPU's backend comes into the process.
Result<std::unique_ptr<Backend>> make_gpu_backend(int gpu) {
  BP_ASSIGN(const DeviceModule* const module, load_cuda_module());
  BP_ASSIGN(const ProductTuning tuning, load_product_tuning());
  return module->make_backend(gpu, tuning);
}

MadeBackend made_of(std::unique_ptr<Backend> backend) {
  MadeBackend made;
  made.line = "computing on " + backend->name();
  made.backend = std::move(backend);
  return made;
}

Result<MadeBackend> make_cpu(int threads, std::span<const int> cpus) {
  if (cpus.empty()) return made_of(make_cpu_backend(threads));
  BP_ASSIGN(std::unique_ptr<Backend> pinned, make_pinned_cpu_backend(cpus));
  return made_of(std::move(pinned));
}

}  // namespace

Result<MadeBackend> make_backend(const std::string& device, int threads,
                                 std::span<const int> cpus) {
  BP_TRY(check_device(device));
  if (device == "cpu") return make_cpu(threads, cpus);
  const int number = gpu_of(device).value_or(0);
  auto gpu = make_gpu_backend(number);
  if (gpu.ok()) {
    MadeBackend made = made_of(std::move(gpu).value());
    made.gpu = number;
    return made;
  }
  // A GPU that is there and has no memory left is no reason to compute elsewhere.
  if (device != "auto" || gpu.error().code != ErrorCode::kDeviceFailed) {
    return std::move(gpu).error();
  }
  BP_ASSIGN(MadeBackend made, make_cpu(threads, cpus));
  // Without the remedy: nobody asked for a GPU.
  const std::string& why = gpu.error().message;
  made.line += ": " + why.substr(0, why.find(';'));
  return made;
}

int threads_of_one(int processes) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  const int count = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
  return std::max(1, count / std::max(1, processes));
}

Result<std::vector<std::string>> choose_devices(const std::string& devices, std::string& line) {
  BP_ASSIGN(std::vector<std::string> names, split_devices(devices));
  if (names.front() == "cuda:all") {
    BP_ASSIGN(const DeviceModule* const module, load_cuda_module());
    BP_ASSIGN(const int count, module->device_count());
    names.clear();
    for (int gpu = 0; gpu < count; ++gpu) names.push_back("cuda:" + std::to_string(gpu));
  }
  for (std::string& name : names) {
    BP_ASSIGN(const MadeBackend made, make_backend(name));
    name = made.gpu < 0 ? "cpu" : "cuda:" + std::to_string(made.gpu);
    line += line.empty() ? made.line : ", " + made.backend->name();
  }
  return names;
}

}  // namespace beaverpond
