// How the formulas of this folder are inlined: into host code of any instruction set, and into GPU
// kernels. Always inlined, so that no out-of-line copy made under one file's instruction-set flags
// is ever linked into another file's code.
#pragma once

#if defined(__CUDACC__)
#define BP_MATH_INLINE __host__ __device__ __forceinline__
#else
#define BP_MATH_INLINE inline __attribute__((always_inline))
#endif

// On a GPU an array stays in registers only if every index is a constant.
#if defined(__CUDA_ARCH__)
#define BP_MATH_UNROLL _Pragma("unroll")
#define BP_MATH_ROLLED _Pragma("unroll 1")
#else
#define BP_MATH_UNROLL
#define BP_MATH_ROLLED
#endif

// Makes a selector opaque to the compiler, which else may turn the selection that follows into a
// branch. Nothing where nvcc compiles: a GPU selects without branches.
#if defined(__CUDACC__)
#define BP_MATH_OPAQUE(word) (void)(word)
#else
#define BP_MATH_OPAQUE(word) __asm__("" : "+r"(word))
#endif
