// The one function that libbeaverpond_mpi.so exports.
#include <dlfcn.h>
#include <mpi.h>

#include <cstdlib>

#include "online/transport/mpi/mpi.h"
#include "online/transport/mpi_module.h"

extern "C" __attribute__((visibility("default"))) const beaverpond::MpiModule*
beaverpond_mpi_module() {
  static const beaverpond::MpiModule module = [] {
    // Open MPI's parts, which it loads itself, look for its functions among those that all see.
    Dl_info found{};
    if (dladdr(reinterpret_cast<const void*>(&MPI_Comm_rank), &found) != 0) {
      (void)dlopen(found.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
    }
    // The processes keep their memory to themselves (prctl), so that one cannot read another's.
    (void)setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
    return beaverpond::MpiModule{BEAVERPOND_MPI_MODULE_VERSION, &beaverpond::connect_mpi_blocking};
  }();
  return &module;
}
