#include "kernels/device_module.h"

#include <dlfcn.h>
#include <elf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace beaverpond {
namespace {

constexpr const char* kRemedy =
    "; install the module that came with this program, or use "
    "--device cpu";

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

/// Whether the file has its end, where ELF keeps the section headers. dlopen does not look, and a
/// program that runs into the missing part of a library ends with SIGBUS.
bool is_whole(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = file.tellg();
  Elf64_Ehdr header{};
  file.seekg(0);
  if (!file.read(reinterpret_cast<char*>(&header), sizeof(header))) return false;
  return std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
         header.e_shoff + std::uint64_t{header.e_shnum} * header.e_shentsize <=
             static_cast<std::uint64_t>(size);
}

Result<const DeviceModule*> entry_of(void* library, const std::string& path) {
  // POSIX: a pointer of dlsym may be turned into a function pointer.
  const auto entry = reinterpret_cast<DeviceModuleEntry>(dlsym(library, kCudaModuleEntry));
  if (entry == nullptr) {
    return make_error(ErrorCode::kDeviceFailed,
                      path + " is not a module of Beaverpond: no " + kCudaModuleEntry + kRemedy);
  }
  const DeviceModule* module = entry(kDeviceModuleVersion);
  if (module == nullptr || module->version != kDeviceModuleVersion) {
    const std::string version = module == nullptr ? "none" : std::to_string(module->version);
    return make_error(ErrorCode::kDeviceFailed,
                      path + " is another version's module (" + version + ", this program needs " +
                          std::to_string(kDeviceModuleVersion) + ")" + kRemedy);
  }
  return module;
}

}  // namespace

Result<const DeviceModule*> load_cuda_module_from(std::span<const std::string> paths) {
  for (const std::string& path : paths) {
    std::error_code ignored;
    const bool is_file = path.find('/') != std::string::npos;
    if (is_file && !std::filesystem::exists(path, ignored)) continue;
    if (is_file && !is_whole(path)) {
      return make_error(ErrorCode::kDeviceFailed,
                        "cannot load the CUDA module: " + path + " is damaged" + kRemedy);
    }
    // RTLD_LOCAL: its copies of our own functions stay its own.
    void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) {
      Result<const DeviceModule*> module = entry_of(library, path);
      if (!module) dlclose(library);
      return module;
    }
    const char* const reason = dlerror();
    const std::string text = one_line(reason == nullptr ? "no reason given" : reason);
    // The system's words for a file that is nowhere name it first; any other file is a part of it
    // that is missing.
    if (!is_file && text.starts_with(path + ": cannot open shared object file")) continue;
    return make_error(ErrorCode::kDeviceFailed, "cannot load the CUDA module: " + text + kRemedy);
  }
  return make_error(ErrorCode::kDeviceFailed,
                    std::string("no CUDA module (") + kCudaModuleFile + ") is installed" + kRemedy);
}

Result<const DeviceModule*> load_cuda_module() {
  static const Result<const DeviceModule*> loaded = [] {
    std::array<std::string, 3> paths{"", "", kCudaModuleFile};
    std::error_code ignored;
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
    const std::filesystem::path folder = program.parent_path();
    paths[0] = folder / kCudaModuleFile;
    paths[1] = folder.parent_path() / "lib" / kCudaModuleFile;
    return load_cuda_module_from(paths);
  }();
  return loaded;
}

}  // namespace beaverpond
