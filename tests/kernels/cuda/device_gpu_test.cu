// The tests of what kernels may use, on a GPU.
#include "tests/kernels/cuda/device_test.cpp"
#include "tests/kernels/cuda/matrix_device_test.cpp"
