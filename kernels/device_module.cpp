#include "kernels/device_module.h"

#include "kernels/module_file.h"

namespace beaverpond {
namespace {

constexpr ModuleKind kKind{"CUDA module", kCudaModuleFile, kCudaModuleEntry,
                           ErrorCode::kDeviceFailed,
                           "; install the module that came with this program, or use --device cpu"};

}  // namespace

Result<const DeviceModule*> load_cuda_module_from(std::span<const std::string> paths) {
  const DeviceModule* module = nullptr;
  BP_TRY(load_module_blocking(
      kKind, paths, [&module](void* symbol, const std::string& path) -> Result<void> {
        // POSIX: a pointer of dlsym may be turned into a function pointer.
        module = reinterpret_cast<DeviceModuleEntry>(symbol)(kDeviceModuleVersion);
        if (module != nullptr && module->version == kDeviceModuleVersion) return {};
        const std::string version = module == nullptr ? "none" : std::to_string(module->version);
        return another_version(
            kKind, path,
            " (" + version + ", this program needs " + std::to_string(kDeviceModuleVersion) + ")");
      }));
  return module;
}

Result<const DeviceModule*> load_cuda_module() {
  static const Result<const DeviceModule*> loaded = load_cuda_module_from(module_paths(kKind));
  return loaded;
}

}  // namespace beaverpond
