// Runs a kernel and waits for it: on a GPU where nvcc compiles the test, else on the emulator.
// Arrays are memory that both the test and the kernel may touch.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <utility>

#include "kernels/cuda/device.h"

#if defined(__CUDACC__)
#include "kernels/cuda/launch.h"
#else
#include <vector>

#include "simt/run.h"
#endif

namespace beaverpond::cuda {

#if defined(__CUDACC__)

inline bool has_device() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

/// Zeros at first.
template <class T>
class Array {
 public:
  explicit Array(std::size_t size) : size_(size) {
    EXPECT_EQ(cudaMallocManaged(&data_, size * sizeof(T)), cudaSuccess);
    for (std::size_t i = 0; i < size; ++i) data_[i] = T{};
  }
  ~Array() { cudaFree(data_); }
  Array(const Array&) = delete;  // owns memory of the device
  Array& operator=(const Array&) = delete;

  T* data() { return data_; }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return data_[i]; }

 private:
  std::size_t size_;
  T* data_ = nullptr;
};

template <class... Params, class... Args>
void run_kernel(void (*kernel)(Params...), dim3 grid, dim3 block, std::size_t shared_bytes,
                Args&&... args) {
  ASSERT_EQ(
      launch(kernel, LaunchShape{grid, block, shared_bytes}, nullptr, std::forward<Args>(args)...),
      cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

#else

inline bool has_device() {
  return true;
}

template <class T>
using Array = std::vector<T>;

template <class... Params, class... Args>
void run_kernel(void (*kernel)(Params...), dim3 grid, dim3 block, std::size_t shared_bytes,
                Args&&... args) {
  simt::run(kernel, grid, block, shared_bytes, std::forward<Args>(args)...);
}

#endif

}  // namespace beaverpond::cuda
