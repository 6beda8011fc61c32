# Whether the CUDA module is built, and how nvcc is called. Nothing else of the project needs nvcc.
set(BEAVERPOND_CUDA AUTO CACHE STRING "Build the CUDA module: AUTO (where nvcc is found), ON, OFF")
set_property(CACHE BEAVERPOND_CUDA PROPERTY STRINGS AUTO ON OFF)
set(BEAVERPOND_CUDA_ENABLED OFF)

if(BEAVERPOND_CUDA STREQUAL "AUTO" AND BEAVERPOND_SANITIZE)
  # Its host code is tested under sanitizers with g++, against stand-ins (tests/fake_cuda).
  message(STATUS "CUDA module: not in a sanitized build")
elseif(BEAVERPOND_CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    find_program(BEAVERPOND_NVCC nvcc HINTS ENV CUDACXX PATHS /usr/local/cuda/bin)
    mark_as_advanced(BEAVERPOND_NVCC)
    if(BEAVERPOND_NVCC)
      set(CMAKE_CUDA_COMPILER ${BEAVERPOND_NVCC})
    endif()
  endif()
  if(CMAKE_CUDA_COMPILER)
    set(BEAVERPOND_CUDA_ENABLED ON)
  elseif(BEAVERPOND_CUDA STREQUAL "AUTO")
    message(STATUS "CUDA module: no nvcc found, so it is not built")
  else()
    message(FATAL_ERROR "BEAVERPOND_CUDA is ON, but there is no nvcc: put it on PATH or set "
                        "CMAKE_CUDA_COMPILER")
  endif()
endif()

if(BEAVERPOND_CUDA_ENABLED)
  # enable_language would choose one architecture for us. A100, H100, B200; "real" would leave later
  # devices without any code.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80 90 100)
  endif()
  enable_language(CUDA)
  set(CMAKE_CUDA_FLAGS_RELEASE "-O3")  # no NDEBUG, as for C++
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_EXTENSIONS OFF)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    # cmake 3.25 does not know that nvcc has it.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  endif()
  find_package(CUDAToolkit REQUIRED)
  # Programs look for the module as the system does; in the build folder it is here.
  list(APPEND CMAKE_BUILD_RPATH ${PROJECT_BINARY_DIR}/lib)
  message(STATUS "CUDA module: nvcc ${CMAKE_CUDA_COMPILER_VERSION}, for sm "
                 "${CMAKE_CUDA_ARCHITECTURES}")
endif()
