# The sources of the CUDA module, relative to this folder. One list for nvcc and for the build
# against the stand-ins (tests/fake_cuda), which takes the .cu files as C++ and has its own place of
# curand_load.cpp and cublaslt_load.cpp.
set(beaverpond_cuda_sources
    compare_ops.cu
    convolve.cu
    cuda_backend.cu
    deal_ops.cu
    key_ring.cpp
    library_products.cpp
    matmul.cu
    memory_pool.cpp
    module.cpp
    probe.cu
    rates.cpp
    residue_stages.cu
    runtime.cpp
    securenn_ops.cu
    streams.cu
    synthetic.cpp
    xor_parts.cu)
