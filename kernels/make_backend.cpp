#include "kernels/make_backend.h"

#include <optional>
#include <utility>

#include "kernels/device_module.h"

namespace beaverpond {
namespace {

/// N of "cuda:N"; 0 of "cuda".
std::optional<int> gpu_of(const std::string& device) {
  if (device == "cuda") return 0;
  if (!device.starts_with("cuda:")) return std::nullopt;
  const std::string digits = device.substr(5);
  const bool number = !digits.empty() && digits.size() <= 3 &&
                      digits.find_first_not_of("0123456789") == std::string::npos;
  if (!number) return std::nullopt;
  return std::stoi(digits);
}

/// The one place that knows how a GPU's backend comes into the process.
Result<std::unique_ptr<Backend>> make_gpu_backend(int gpu) {
  BP_ASSIGN(const DeviceModule* const module, load_cuda_module());
  return module->make_backend(gpu);
}

MadeBackend made_of(std::unique_ptr<Backend> backend) {
  MadeBackend made;
  made.line = "computing on " + backend->name();
  made.backend = std::move(backend);
  return made;
}

}  // namespace

Result<void> check_device(const std::string& device) {
  if (device == "auto" || device == "cpu" || gpu_of(device).has_value()) return {};
  return make_error(ErrorCode::kConfig, "'" + device +
                                            "' is not a device; write auto, cpu, cuda or, for "
                                            "the GPU with number 1, cuda:1");
}

Result<MadeBackend> make_backend(const std::string& device) {
  BP_TRY(check_device(device));
  if (device == "cpu") return made_of(make_cpu_backend());
  const int number = gpu_of(device).value_or(0);
  auto gpu = make_gpu_backend(number);
  if (gpu.ok()) {
    MadeBackend made = made_of(std::move(gpu).value());
    made.gpu = number;
    return made;
  }
  if (device != "auto") return std::move(gpu).error();
  MadeBackend made = made_of(make_cpu_backend());
  // Without the remedy: nobody asked for a GPU.
  const std::string& why = gpu.error().message;
  made.line += ": " + why.substr(0, why.find(';'));
  return made;
}

}  // namespace beaverpond
