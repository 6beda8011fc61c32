// Runs a kernel and waits for it: on a GPU where nvcc compiles the test, else on the emulator.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "kernels/cuda/device.h"

#if defined(__CUDACC__)
#include "kernels/cuda/launch.h"
#include "tests/kernels/gpu_here.h"
#else
#include "simt/run.h"
#endif

namespace beaverpond::cuda {

#if defined(__CUDACC__)

/// False only where there is no GPU: one that does not answer fails the test that asks it.
inline bool has_device() {
  int count = 0;
  return testing::gpu_here() || (cudaGetDeviceCount(&count) == cudaSuccess && count > 0);
}

/// The arrays that travel with every kernel: to the device before it, and back behind it.
class AnyArray {
 public:
  AnyArray(const AnyArray&) = delete;  // owns memory of the device
  AnyArray& operator=(const AnyArray&) = delete;
  static void copy_all(cudaMemcpyKind kind) {
    for (AnyArray* const array : live()) array->copy(kind);
  }

 protected:
  AnyArray() { live().push_back(this); }
  ~AnyArray() { std::erase(live(), this); }
  virtual void copy(cudaMemcpyKind kind) = 0;

 private:
  static std::vector<AnyArray*>& live() {
    static std::vector<AnyArray*> arrays;
    return arrays;
  }
};

/// Zeros at first. Indices are the host's side, data() is the device's.
template <class T>
class Array final : AnyArray {
 public:
  explicit Array(std::size_t size) : host_(size) {
    EXPECT_EQ(cudaMalloc(&device_, size * sizeof(T)), cudaSuccess);
  }
  ~Array() { cudaFree(device_); }

  T* data() { return device_; }
  std::size_t size() const { return host_.size(); }
  T& operator[](std::size_t i) { return host_[i]; }
  T* begin() { return host_.data(); }
  T* end() { return host_.data() + host_.size(); }

 private:
  void copy(cudaMemcpyKind kind) override {
    const bool to_device = kind == cudaMemcpyHostToDevice;
    T* const to = to_device ? device_ : host_.data();
    const T* const from = to_device ? host_.data() : device_;
    EXPECT_EQ(cudaMemcpy(to, from, size() * sizeof(T), kind), cudaSuccess);
  }

  std::vector<T> host_;
  T* device_ = nullptr;
};

template <class... Params, class... Args>
void run_kernel(void (*kernel)(Params...), dim3 grid, dim3 block, std::size_t shared_bytes,
                Args&&... args) {
  AnyArray::copy_all(cudaMemcpyHostToDevice);
  ASSERT_EQ(
      launch(kernel, LaunchShape{grid, block, shared_bytes}, nullptr, std::forward<Args>(args)...),
      cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  AnyArray::copy_all(cudaMemcpyDeviceToHost);
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
