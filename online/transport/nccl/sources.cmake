# The sources of the NCCL transport but for what loads the library. One list for the module and for
# the build against the stand-ins (tests/fake_cuda/nccl).
set(beaverpond_nccl_sources closer.cpp hello.cpp lane.cpp nccl.cpp)
