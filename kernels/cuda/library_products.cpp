#include "kernels/cuda/library_products.h"

#include <string>

#include "kernels/cuda/runtime.h"

namespace beaverpond::cuda {
namespace {

using cublaslt::Api;
using cublaslt::DataType;
using cublaslt::Status;

/// What one product is made of, and goes with it.
struct Parts {
  explicit Parts(const Api& of) : api(of) {}
  Parts(const Parts&) = delete;  // owns
  Parts& operator=(const Parts&) = delete;
  ~Parts() {
    if (desc != nullptr) api.matmul_desc_destroy(desc);
    for (const cublaslt::Layout layout : {left, right, out}) {
      if (layout != nullptr) api.matrix_layout_destroy(layout);
    }
  }
  const Api& api;
  cublaslt::Desc desc = nullptr;
  cublaslt::Layout left = nullptr;
  cublaslt::Layout right = nullptr;
  cublaslt::Layout out = nullptr;
};

/// A matrix by columns, one for every modulus, `stride` elements apart.
Status make_layout(const Api& api, cublaslt::Layout& layout, DataType type, std::uint64_t rows,
                   std::uint64_t columns, std::int64_t leading, std::int64_t stride) {
  Status status = api.matrix_layout_create(&layout, type, rows, columns, leading);
  if (status != Status::kSuccess) return status;
  const std::int32_t count = kModuli;
  status = api.matrix_layout_set_attribute(layout, cublaslt::LayoutAttribute::kBatchCount, &count,
                                           sizeof count);
  if (status != Status::kSuccess) return status;
  return api.matrix_layout_set_attribute(layout, cublaslt::LayoutAttribute::kBatchStride, &stride,
                                         sizeof stride);
}

}  // namespace

Result<std::unique_ptr<LibraryProducts>> LibraryProducts::create() {
  BP_ASSIGN(const Api* const api, cublaslt::load());
  cublaslt::Handle handle = nullptr;
  if (const Status status = api->create(&handle); status != Status::kSuccess) {
    return make_error(ErrorCode::kDeviceFailed, std::string("cuBLASLt does not start: ") +
                                                    api->get_status_name(status) +
                                                    "; measure without it by beaverpond-gpu-bench "
                                                    "--tune, or use --device cpu");
  }
  return std::unique_ptr<LibraryProducts>(new LibraryProducts(*api, handle));
}

LibraryProducts::~LibraryProducts() {
  api_.destroy(handle_);
}

/// cuBLASLt has columns first and takes bytes only as a transposed left operand and a right one
/// that is not. Rows of our planes are its columns, so that it computes b a^T as we see it, whose
/// columns are the rows of c.
Result<void> LibraryProducts::multiply(const ProductPlanes& planes, std::int32_t* sums,
                                       cudaStream_t stream) {
  const std::uint64_t columns =
      (std::uint64_t{planes.n} + kLibraryColumns - 1) / kLibraryColumns * kLibraryColumns;
  const auto pitch = static_cast<std::int64_t>(planes.pitch);
  const auto c_pitch = static_cast<std::int64_t>(planes.c_pitch);
  const auto m = static_cast<std::int64_t>(planes.m);
  const auto n = static_cast<std::int64_t>(planes.n);
  Parts parts(api_);
  Status status =
      api_.matmul_desc_create(&parts.desc, cublaslt::ComputeType::k32I, DataType::kInt32);
  if (status == Status::kSuccess) {
    status = api_.matmul_desc_set_attribute(parts.desc, cublaslt::DescAttribute::kTransA,
                                            &cublaslt::kTransposed, sizeof cublaslt::kTransposed);
  }
  if (status == Status::kSuccess) {
    status =
        make_layout(api_, parts.left, DataType::kInt8, planes.pitch, columns, pitch, n * pitch);
  }
  if (status == Status::kSuccess) {
    status =
        make_layout(api_, parts.right, DataType::kInt8, planes.pitch, planes.m, pitch, m * pitch);
  }
  if (status == Status::kSuccess) {
    status =
        make_layout(api_, parts.out, DataType::kInt32, columns, planes.m, c_pitch, m * c_pitch);
  }
  if (status == Status::kSuccess) {
    const std::int32_t one = 1;
    const std::int32_t zero = 0;
    status = api_.matmul(handle_, parts.desc, &one, planes.b, parts.left, planes.a, parts.right,
                         &zero, sums, parts.out, sums, parts.out, nullptr, nullptr, 0, stream);
  }
  if (status == Status::kSuccess) return {};
  return make_error(ErrorCode::kDeviceFailed,
                    std::string("cuBLASLt does not multiply ") + std::to_string(planes.m) + " x " +
                        std::to_string(planes.n) + " x " + std::to_string(planes.pitch) +
                        " bytes: " + api_.get_status_name(status) +
                        "; measure without it by beaverpond-gpu-bench --tune");
}

}  // namespace beaverpond::cuda
