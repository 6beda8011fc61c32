// CUDA's device names, as kernels of this project use them, on an emulated SIMT machine. The
// overloads are CUDA's, so that a call that compiles here compiles there. Warp operations take the
// caller's file and line in defaulted arguments, for the reports (README.md).
#pragma once

#include <type_traits>

#include "simt/types.h"

// Set by the machine whenever it switches to another thread.
extern constinit thread_local uint3 threadIdx;
extern constinit thread_local uint3 blockIdx;
extern constinit thread_local dim3 blockDim;
extern constinit thread_local dim3 gridDim;

namespace simt {

enum class WarpOp {
  kSync,
  kBallot,
  kShuffle,
  kShuffleUp,
  kShuffleDown,
  kShuffleXor,
  kLoadMatrix,
  kMmaS8,
  kMmaU8
};

/// What a lane brings to a warp operation and takes from it. It lies on the lane's stack.
struct WarpCall {
  WarpOp op;
  const char* name;
  unsigned mask;
  const char* file;
  int line;
  std::uint64_t value = 0;  // shuffles: in and out; ballot: predicate in, bits out
  unsigned operand = 0;     // shuffles: lane, distance or bits
  unsigned width = 32;
  unsigned words[10] = {};      // ballot: the lanes asked, out; matrices: row or fragments a, b, d
  const void* order = nullptr;  // the machine's: what orders memory behind a __syncwarp
};

struct Copy {
  void* shared;
  const void* global;  // null: zeros
};

// The machine (runtime/).
extern constinit thread_local unsigned char* shared_base;
void barrier(const char* file, int line);
void warp_call(WarpCall& call);
void fence();
void queue_copy(void* shared, const void* global, bool valid, const char* file, int line);
void commit_copies();
/// Takes the next copy that a wait for all but the latest `unfinished` groups has to make.
bool next_copy(int unfinished, Copy& copy);
std::uint64_t garbage();

template <class T>
T shuffle(WarpOp op, const char* name, unsigned mask, T value, unsigned operand, int width,
          const char* file, int line) {
  static_assert(std::is_integral_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  WarpCall call{op, name, mask, file, line};
  call.value = static_cast<std::make_unsigned_t<T>>(value);
  call.operand = operand;
  call.width = static_cast<unsigned>(width);
  warp_call(call);
  return static_cast<T>(call.value);
}

inline WarpCall ballot(const char* name, unsigned mask, bool predicate, const char* file,
                       int line) {
  WarpCall call{WarpOp::kBallot, name, mask, file, line};
  call.value = predicate;
  warp_call(call);
  return call;
}

inline void multiply_accumulate(WarpOp op, const char* name, int (&d)[4], const unsigned (&a)[4],
                                const unsigned (&b)[2], const char* file, int line) {
  WarpCall call{op, name, 0xffffffffu, file, line};
  for (int i = 0; i < 4; ++i) call.words[i] = a[i];
  for (int i = 0; i < 2; ++i) call.words[4 + i] = b[i];
  for (int i = 0; i < 4; ++i) call.words[6 + i] = static_cast<unsigned>(d[i]);
  warp_call(call);
  for (int i = 0; i < 4; ++i) d[i] = static_cast<int>(call.words[6 + i]);
}

}  // namespace simt

#define SIMT_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(SIMT_SITE) {
  simt::barrier(file, line);
}

inline void __syncwarp(unsigned mask = 0xffffffffu, SIMT_SITE) {
  simt::WarpCall call{simt::WarpOp::kSync, "__syncwarp", mask, file, line};
  simt::warp_call(call);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, SIMT_SITE) {
  return simt::shuffle(simt::WarpOp::kShuffle, "__shfl_sync", mask, value,
                       static_cast<unsigned>(lane), width, file, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32, SIMT_SITE) {
  return simt::shuffle(simt::WarpOp::kShuffleUp, "__shfl_up_sync", mask, value, distance, width,
                       file, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32, SIMT_SITE) {
  return simt::shuffle(simt::WarpOp::kShuffleDown, "__shfl_down_sync", mask, value, distance, width,
                       file, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, SIMT_SITE) {
  return simt::shuffle(simt::WarpOp::kShuffleXor, "__shfl_xor_sync", mask, value,
                       static_cast<unsigned>(bits), width, file, line);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, SIMT_SITE) {
  return static_cast<unsigned>(
      simt::ballot("__ballot_sync", mask, predicate != 0, file, line).value);
}
inline int __any_sync(unsigned mask, int predicate, SIMT_SITE) {
  return simt::ballot("__any_sync", mask, predicate != 0, file, line).value != 0;
}
inline int __all_sync(unsigned mask, int predicate, SIMT_SITE) {
  const simt::WarpCall call = simt::ballot("__all_sync", mask, predicate != 0, file, line);
  return call.value == call.words[0];
}

inline void __threadfence() {
  simt::fence();
}

// Atomics are relaxed, as the device's are.
#define SIMT_ATOMIC(T)                                                                        \
  inline T atomicAdd(T* at, T x) {                                                            \
    return __atomic_fetch_add(at, x, __ATOMIC_RELAXED);                                       \
  }                                                                                           \
  inline T atomicXor(T* at, T x) {                                                            \
    return __atomic_fetch_xor(at, x, __ATOMIC_RELAXED);                                       \
  }                                                                                           \
  inline T atomicOr(T* at, T x) {                                                             \
    return __atomic_fetch_or(at, x, __ATOMIC_RELAXED);                                        \
  }                                                                                           \
  inline T atomicMax(T* at, T x) {                                                            \
    T old = __atomic_load_n(at, __ATOMIC_RELAXED);                                            \
    while (!__atomic_compare_exchange_n(at, &old, old > x ? old : x, false, __ATOMIC_RELAXED, \
                                        __ATOMIC_RELAXED)) {                                  \
    }                                                                                         \
    return old;                                                                               \
  }
SIMT_ATOMIC(unsigned)
SIMT_ATOMIC(unsigned long long)
#undef SIMT_ATOMIC

inline int __dp4a(int a, int b, int sum) {
  unsigned wrapped = static_cast<unsigned>(sum);
  for (int i = 0; i < 32; i += 8) {
    wrapped +=
        static_cast<unsigned>(static_cast<std::int8_t>(a >> i) * static_cast<std::int8_t>(b >> i));
  }
  return static_cast<int>(wrapped);
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned sum) {
  for (int i = 0; i < 32; i += 8) sum += (a >> i & 255) * (b >> i & 255);
  return sum;
}

inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(std::uint64_t{a} * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline int __popc(unsigned x) {
  return __builtin_popcount(x);
}
inline int __popcll(unsigned long long x) {
  return __builtin_popcountll(x);
}
inline int __clz(int x) {
  return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x));
}
inline int __ffs(int x) {
  return __builtin_ffs(x);
}
inline unsigned __brev(unsigned x) {
  unsigned y = 0;
  for (int i = 0; i < 32; ++i) y |= (x >> i & 1) << (31 - i);
  return y;
}
/// Byte i of the result is byte (selector >> 4i & 7) of y:x; with bit 3 set, its sign eight times.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const std::uint64_t bytes = std::uint64_t{y} << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned nibble = selector >> (4 * i) & 15;
    unsigned byte = static_cast<unsigned>(bytes >> (8 * (nibble & 7)) & 255);
    if (nibble & 8) byte = (byte & 128) ? 255 : 0;
    result |= byte << (8 * i);
  }
  return result;
}
/// The upper word of hi:lo << (shift mod 32).
inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned shift) {
  const std::uint64_t both = std::uint64_t{hi} << 32 | lo;
  return static_cast<unsigned>(both << (shift & 31) >> 32);
}
template <class T>
T __ldg(const T* at) {
  return *at;
}

namespace beaverpond::cuda {

template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(simt::shared_base);
}

/// The bytes are garbage until the wait, which reads the source.
inline void cp_async_16(void* shared, const void* global, bool valid, SIMT_SITE) {
  simt::queue_copy(shared, global, valid, file, line);
  auto* words = static_cast<std::uint64_t*>(shared);
  words[0] = simt::garbage(), words[1] = simt::garbage();
}

inline void cp_async_commit() {
  simt::commit_copies();
}

template <int n>
void cp_async_wait() {
  for (simt::Copy copy; simt::next_copy(n, copy);) {
    *static_cast<uint4*>(copy.shared) =
        copy.global ? *static_cast<const uint4*>(copy.global) : uint4{0, 0, 0, 0};
  }
}

inline void mma_m16n8k32_s8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                            SIMT_SITE) {
  simt::multiply_accumulate(simt::WarpOp::kMmaS8, "mma_m16n8k32_s8", d, a, b, file, line);
}

inline void mma_m16n8k32_u8s8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                              SIMT_SITE) {
  simt::multiply_accumulate(simt::WarpOp::kMmaU8, "mma_m16n8k32_u8s8", d, a, b, file, line);
}

/// Every lane reads its row itself, so that a sanitizer knows who reads it.
inline void ldmatrix_x4(unsigned (&r)[4], const void* shared_row, SIMT_SITE) {
  simt::WarpCall call{simt::WarpOp::kLoadMatrix, "ldmatrix_x4", 0xffffffffu, file, line};
  const uint4 row = *static_cast<const uint4*>(shared_row);
  call.words[0] = row.x, call.words[1] = row.y, call.words[2] = row.z, call.words[3] = row.w;
  simt::warp_call(call);
  for (int i = 0; i < 4; ++i) r[i] = call.words[i];
}

}  // namespace beaverpond::cuda

#undef SIMT_SITE
