# The sources of the CUDA module, relative to this folder. One list for nvcc and for the build
# against the stand-ins (tests/fake_cuda), which takes the .cu files as C++.
set(beaverpond_cuda_sources
    memory_pool.cpp
    module.cpp
    probe.cu
    runtime.cpp
    xor_parts.cu)
