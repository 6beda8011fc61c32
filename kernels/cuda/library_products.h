// Products of residue planes by cuBLASLt: the other way to what multiply_residues computes.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/cuda/cublaslt_api.h"
#include "kernels/cuda/product_planes.h"

namespace beaverpond::cuda {

/// The library takes columns four at a time: planes.b has this many rows behind its last one, of
/// any content, and rows of sums have room for them.
inline constexpr std::uint32_t kLibraryColumns = 4;

/// One handle of the library, on the calling thread's device.
class LibraryProducts {
 public:
  /// Errors: kDeviceFailed (no library, or one that does not start).
  static Result<std::unique_ptr<LibraryProducts>> create();
  LibraryProducts(const LibraryProducts&) = delete;  // owns the handle
  LibraryProducts& operator=(const LibraryProducts&) = delete;
  ~LibraryProducts();

  /// sums[modulus][m][planes.c_pitch] = planes.a times planes.b, 32-bit sums as they are; planes.c
  /// is not used. Stream-ordered. Errors: kDeviceFailed.
  Result<void> multiply(const ProductPlanes& planes, std::int32_t* sums, cudaStream_t stream);

 private:
  LibraryProducts(const cublaslt::Api& api, cublaslt::Handle handle) : api_(api), handle_(handle) {}
  const cublaslt::Api& api_;
  cublaslt::Handle handle_;
};

}  // namespace beaverpond::cuda
