// The part of cuBLASLt's interface that is used, declared here, so that the module builds where
// cublasLt.h is not installed and runs with libcublasLt.so.13 or .12. Where cublasLt.h is installed
// a test compares the two.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "beaverpond/result.h"

namespace beaverpond::cuda::cublaslt {

enum class Status : int { kSuccess = 0, kInvalidValue = 7, kExecutionFailed = 13 };
enum class ComputeType : int { k32I = 72 };
enum class DataType : int { kInt8 = 3, kInt32 = 10 };
enum class DescAttribute : int { kTransA = 3 };
enum class LayoutAttribute : int { kBatchCount = 5, kBatchStride = 6 };
inline constexpr std::int32_t kTransposed = 1;

// Opaque handles: cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t.
using Handle = struct HandleTag*;
using Desc = struct DescTag*;
using Layout = struct LayoutTag*;

/// The library's functions, under their names without the prefix "cublasLt".
struct Api {
  Status (*create)(Handle*) = nullptr;
  Status (*destroy)(Handle) = nullptr;
  const char* (*get_status_name)(Status) = nullptr;
  Status (*matmul_desc_create)(Desc*, ComputeType, DataType scale) = nullptr;
  Status (*matmul_desc_destroy)(Desc) = nullptr;
  Status (*matmul_desc_set_attribute)(Desc, DescAttribute, const void*, std::size_t) = nullptr;
  Status (*matrix_layout_create)(Layout*, DataType, std::uint64_t rows, std::uint64_t columns,
                                 std::int64_t leading) = nullptr;
  Status (*matrix_layout_destroy)(Layout) = nullptr;
  Status (*matrix_layout_set_attribute)(Layout, LayoutAttribute, const void*,
                                        std::size_t) = nullptr;
  /// `algorithm` null: the library's own choice, which then has no workspace.
  Status (*matmul)(Handle, Desc, const void* alpha, const void* a, Layout, const void* b, Layout,
                   const void* beta, const void* c, Layout, void* d, Layout, const void* algorithm,
                   void* workspace, std::size_t workspace_bytes, cudaStream_t) = nullptr;
};

/// The library of this process: libcublasLt.so.13 or .12, where the system's loader or the module's
/// run path find it; loaded once, never unloaded. Errors: kDeviceFailed (none; says what to do).
Result<const Api*> load();

}  // namespace beaverpond::cuda::cublaslt
