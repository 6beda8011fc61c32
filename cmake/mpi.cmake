# Whether the MPI module is built. Nothing else of the project needs MPI.
set(BEAVERPOND_MPI AUTO CACHE STRING "Build the MPI module: AUTO (where MPI is found), ON, OFF")
set_property(CACHE BEAVERPOND_MPI PROPERTY STRINGS AUTO ON OFF)
set(BEAVERPOND_MPI_ENABLED OFF)
if(BEAVERPOND_MPI)
  set(MPI_CXX_SKIP_MPICXX ON)
  if(BEAVERPOND_MPI STREQUAL "AUTO")
    find_package(MPI QUIET COMPONENTS CXX)
  else()
    find_package(MPI REQUIRED COMPONENTS CXX)
  endif()
  if(MPI_CXX_FOUND)
    set(BEAVERPOND_MPI_ENABLED ON)
    # In the build folder it lies beside `beaverpond`; other programs look as the system does.
    list(APPEND CMAKE_BUILD_RPATH ${PROJECT_BINARY_DIR}/online/cli)
  else()
    message(STATUS "MPI module: no MPI found, so it is not built")
  endif()
endif()

# The module and the programs share these headers, which are C++ to each other: a module of others
# is refused. Made here, so that nobody has to remember it.
set(mpi_seam "")
foreach(header IN ITEMS include/beaverpond/result.h include/beaverpond/stream.h
        online/transport/transport.h online/transport/mpi_options.h online/transport/mpi_module.h)
  file(SHA256 ${PROJECT_SOURCE_DIR}/${header} digest)
  string(APPEND mpi_seam ${digest})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${header})
endforeach()
string(SHA256 mpi_seam "${mpi_seam} ${BEAVERPOND_SANITIZE}")
string(SUBSTRING ${mpi_seam} 0 16 mpi_seam)
add_library(beaverpond_mpi_version INTERFACE)
target_compile_definitions(beaverpond_mpi_version INTERFACE
                           BEAVERPOND_MPI_MODULE_VERSION="${mpi_seam}")
