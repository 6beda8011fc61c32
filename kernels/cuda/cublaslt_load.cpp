#include "kernels/cuda/cublaslt_api.h"
#include "kernels/cuda/library.h"

namespace beaverpond::cuda::cublaslt {
namespace {

Result<Library> find_library() {
  constexpr const char* kRemedy =
      "install cuBLAS 13 or 12 (a part of the CUDA toolkit), or measure without it by "
      "beaverpond-gpu-bench --tune";
  Result<Library> found =
      Library::open("libcublasLt.so.13", "cuBLASLt", ErrorCode::kDeviceFailed, kRemedy);
  if (found.ok()) return found;
  Result<Library> older =
      Library::open("libcublasLt.so.12", "cuBLASLt", ErrorCode::kDeviceFailed, kRemedy);
  return older.ok() ? std::move(older) : std::move(found);
}

Result<Api> open_library() {
  BP_ASSIGN(Library library, find_library());
  Api api;
  library.fill(api.create, "cublasLtCreate");
  library.fill(api.destroy, "cublasLtDestroy");
  library.fill(api.get_status_name, "cublasLtGetStatusName");
  library.fill(api.matmul_desc_create, "cublasLtMatmulDescCreate");
  library.fill(api.matmul_desc_destroy, "cublasLtMatmulDescDestroy");
  library.fill(api.matmul_desc_set_attribute, "cublasLtMatmulDescSetAttribute");
  library.fill(api.matrix_layout_create, "cublasLtMatrixLayoutCreate");
  library.fill(api.matrix_layout_destroy, "cublasLtMatrixLayoutDestroy");
  library.fill(api.matrix_layout_set_attribute, "cublasLtMatrixLayoutSetAttribute");
  library.fill(api.matmul, "cublasLtMatmul");
  BP_TRY(library.complete());
  return api;
}

}  // namespace

Result<const Api*> load() {
  static const Result<Api> loaded = open_library();
  if (!loaded.ok()) return loaded.error();
  return &loaded.value();
}

}  // namespace beaverpond::cuda::cublaslt
