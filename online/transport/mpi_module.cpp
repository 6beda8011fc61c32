#include "online/transport/mpi_module.h"

#include <cstring>

#include "kernels/module_file.h"

namespace beaverpond {
namespace {

constexpr ModuleKind kKind{
    "MPI module", kMpiModuleFile, kMpiModuleEntry, ErrorCode::kConfig,
    "; install Open MPI 4.1 (Debian: libopenmpi-dev, openmpi-bin) and build again, or use "
    "--transport tls"};

}  // namespace

Result<const MpiModule*> load_mpi_module_from(std::span<const std::string> paths) {
  const MpiModule* module = nullptr;
  BP_TRY(load_module_blocking(
      kKind, paths, [&module](void* symbol, const std::string& path) -> Result<void> {
        // POSIX: a pointer of dlsym may be turned into a function pointer.
        module = reinterpret_cast<MpiModuleEntry>(symbol)();
        const char* const wanted = BEAVERPOND_MPI_MODULE_VERSION;
        if (module != nullptr && std::strcmp(module->version, wanted) == 0) return {};
        return another_version(kKind, path, "; install the one that came with this program");
      }));
  return module;
}

Result<const MpiModule*> load_mpi_module() {
  static const Result<const MpiModule*> loaded = load_mpi_module_from(module_paths(kKind));
  return loaded;
}

}  // namespace beaverpond
