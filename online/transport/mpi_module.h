// The module of the MPI transport: found and loaded when one asks for it, so that the same program
// runs where there is no MPI.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "beaverpond/result.h"
#include "online/transport/mpi_options.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// What the module offers. Function pointers, none null. Lives as long as the program.
struct MpiModule {
  /// Of the headers that module and program share, a digest which the build makes
  /// (CMakeLists.txt); the only field to read where it is another's.
  const char* version = nullptr;
  /// connect_mpi_blocking() of mpi/mpi.h.
  Result<std::unique_ptr<Transport>> (*connect)(Transport& control, const MpiOptions& options,
                                                Deadline deadline) = nullptr;
};

/// The one function a module exports.
using MpiModuleEntry = const MpiModule* (*)();
inline constexpr const char* kMpiModuleEntry = "beaverpond_mpi_module";
inline constexpr const char* kMpiModuleFile = "libbeaverpond_mpi.so";

/// Loads the module: beside the program, in ../lib, else where the system looks. The first that is
/// there decides. Never unloaded; later calls give the same answer. May set variables of Open MPI
/// in the environment, so call it before there are threads. Errors: kConfig, in one line (no
/// module, no MPI, one that is damaged, another version).
Result<const MpiModule*> load_mpi_module();

/// The same from `paths`: with a slash a file; without, as the system looks.
Result<const MpiModule*> load_mpi_module_from(std::span<const std::string> paths);

}  // namespace beaverpond
