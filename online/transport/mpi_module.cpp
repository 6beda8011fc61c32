#include "online/transport/mpi_module.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace beaverpond {
namespace {

constexpr const char* kRemedy =
    "; install Open MPI 4.1 (Debian: libopenmpi-dev, openmpi-bin) and build again, or use "
    "--transport tls";

std::string one_line(const char* text) {
  std::string line = text == nullptr ? "no reason given" : text;
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

Result<const MpiModule*> entry_of(void* library, const std::string& path) {
  // POSIX: a pointer of dlsym may be turned into a function pointer.
  const auto entry = reinterpret_cast<MpiModuleEntry>(dlsym(library, kMpiModuleEntry));
  if (entry == nullptr) {
    return make_error(ErrorCode::kConfig,
                      path + " is not a module of Beaverpond: no " + kMpiModuleEntry + kRemedy);
  }
  const MpiModule* const module = entry();
  if (module != nullptr && std::strcmp(module->version, BEAVERPOND_MPI_MODULE_VERSION) == 0) {
    return module;
  }
  return make_error(ErrorCode::kConfig, path + " is another version's module; install the one " +
                                            "that came with this program" + kRemedy);
}

}  // namespace

Result<const MpiModule*> load_mpi_module_from(std::span<const std::string> paths) {
  for (const std::string& path : paths) {
    std::error_code ignored;
    const bool is_file = path.find('/') != std::string::npos;
    if (is_file && !std::filesystem::exists(path, ignored)) continue;
    // RTLD_LOCAL: its copies of our own functions stay its own.
    void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) {
      Result<const MpiModule*> module = entry_of(library, path);
      if (!module.ok()) dlclose(library);
      return module;
    }
    const std::string text = one_line(dlerror());
    // The system's words for a file that is nowhere name it first; any other file is a part of it
    // that is missing.
    if (!is_file && text.starts_with(path + ": cannot open shared object file")) continue;
    return make_error(ErrorCode::kConfig, "cannot load the MPI module: " + text + kRemedy);
  }
  return make_error(ErrorCode::kConfig,
                    std::string("no MPI module (") + kMpiModuleFile + ") is installed" + kRemedy);
}

Result<const MpiModule*> load_mpi_module() {
  static const Result<const MpiModule*> loaded = [] {
    std::error_code ignored;
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
    const std::filesystem::path folder = program.parent_path();
    const std::array<std::string, 3> paths = {
        folder / kMpiModuleFile, folder.parent_path() / "lib" / kMpiModuleFile, kMpiModuleFile};
    return load_mpi_module_from(paths);
  }();
  return loaded;
}

}  // namespace beaverpond
