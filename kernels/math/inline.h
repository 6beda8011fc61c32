// How the formulas of this folder are inlined: into host code of any instruction set, and into GPU
// kernels. Always inlined, so that no out-of-line copy made under one file's instruction-set flags
// is ever linked into another file's code.
#pragma once

#if defined(__CUDACC__)
#define BP_MATH_INLINE __host__ __device__ __forceinline__
#else
#define BP_MATH_INLINE inline __attribute__((always_inline))
#endif
