// What a kernel may use beyond plain C++. The same kernel text compiles twice: with nvcc, where the
// functions below are instructions, and with any C++20 compiler against an emulator of the SIMT
// machine, which offers CUDA's own names as well (tests/simt/README.md).
//
// Fragment layouts and the semantics of groups are those of the PTX instructions named here.
#pragma once

#if defined(__CUDACC__)

#include <cuda_runtime.h>

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#error "the kernels need sm_80 or later: cp.async and mma.sync on 8-bit integers"
#endif

namespace beaverpond::cuda {

/// Base of the block's dynamic shared memory, aligned to 128 bytes.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char beaverpond_dynamic_shared[];
  return reinterpret_cast<T*>(beaverpond_dynamic_shared);
}

/// An address as instructions on shared memory take it.
__device__ __forceinline__ unsigned shared_address(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

/// Starts copying 16 bytes to shared memory, zeros where !valid; then `global` is not read. Both
/// addresses are multiples of 16. The bytes are there for this thread after the wait that covers
/// their group, for others after a barrier behind it. cp.async.cg.shared.global
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
               : "memory");
}

/// Makes a group of this thread's copies since its last commit. cp.async.commit_group
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until at most n of this thread's latest groups are unfinished. cp.async.wait_group
template <int n>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
}

/// d += a * b, whole warp. mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32
__device__ __forceinline__ void mma_m16n8k32_s8(int (&d)[4], const unsigned (&a)[4],
                                                const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// The same with unsigned bytes in a. mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32
__device__ __forceinline__ void mma_m16n8k32_u8s8(int (&d)[4], const unsigned (&a)[4],
                                                  const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8x8 matrices of 16-bit elements, whole warp: lane 8i + j gives the address of row j of
/// matrix i, 16 bytes. ldmatrix.sync.aligned.m8n8.x4.shared.b16
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared_row))
               : "memory");
}

}  // namespace beaverpond::cuda

#else

#include "simt/device.h"

#endif
