// The declarations of cublaslt_api.h against the installed cublasLt.h: it must compile. And the
// installed library, where the loader finds it: it has every function.
#include <cublasLt.h>
#include <gtest/gtest.h>

#include <type_traits>

#include "kernels/cuda/cublaslt_api.h"

namespace beaverpond::cuda::cublaslt {
namespace {

static_assert(static_cast<int>(Status::kSuccess) == CUBLAS_STATUS_SUCCESS &&
              static_cast<int>(Status::kInvalidValue) == CUBLAS_STATUS_INVALID_VALUE &&
              static_cast<int>(Status::kExecutionFailed) == CUBLAS_STATUS_EXECUTION_FAILED);
static_assert(static_cast<int>(ComputeType::k32I) == CUBLAS_COMPUTE_32I);
static_assert(static_cast<int>(DataType::kInt8) == CUDA_R_8I &&
              static_cast<int>(DataType::kInt32) == CUDA_R_32I);
static_assert(static_cast<int>(DescAttribute::kTransA) == CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(static_cast<int>(LayoutAttribute::kBatchCount) == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
static_assert(static_cast<int>(LayoutAttribute::kBatchStride) ==
              CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
static_assert(kTransposed == CUBLAS_OP_T);
static_assert(sizeof(Status) == sizeof(cublasStatus_t) &&
              sizeof(ComputeType) == sizeof(cublasComputeType_t) &&
              sizeof(DataType) == sizeof(cudaDataType_t) &&
              sizeof(Handle) == sizeof(cublasLtHandle_t));

/// How an argument is passed: enums as their numbers, pointers as pointers.
template <class T>
struct Passed {
  using Type = T;
};
template <class T>
requires std::is_enum_v<T>
struct Passed<T> {
  using Type = std::underlying_type_t<T>;
};
template <class T>
struct Passed<T*> {
  using Type = const void*;
};
template <class A, class B>
constexpr bool kSame = std::is_same_v<std::make_signed_t<A>, std::make_signed_t<B>>;
template <class A>
constexpr bool kSame<A, const void*> = std::is_same_v<A, const void*>;
template <class B>
constexpr bool kSame<const void*, B> = std::is_same_v<B, const void*>;
template <>
inline constexpr bool kSame<const void*, const void*> = true;

template <class Ours, class Theirs>
struct Fits : std::false_type {};
template <class R, class... Ours, class S, class... Theirs>
struct Fits<R (*)(Ours...), S(Theirs...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(Ours) != sizeof...(Theirs)) {
      return false;
    } else {
      return (kSame<typename Passed<R>::Type, typename Passed<S>::Type> && ... &&
              kSame<typename Passed<Ours>::Type, typename Passed<Theirs>::Type>);
    }
  }();
};

static_assert(Fits<decltype(Api::create), decltype(cublasLtCreate)>::value);
static_assert(Fits<decltype(Api::destroy), decltype(cublasLtDestroy)>::value);
static_assert(Fits<decltype(Api::get_status_name), decltype(cublasLtGetStatusName)>::value);
static_assert(Fits<decltype(Api::matmul_desc_create), decltype(cublasLtMatmulDescCreate)>::value);
static_assert(Fits<decltype(Api::matmul_desc_destroy), decltype(cublasLtMatmulDescDestroy)>::value);
static_assert(Fits<decltype(Api::matmul_desc_set_attribute),
                   decltype(cublasLtMatmulDescSetAttribute)>::value);
static_assert(
    Fits<decltype(Api::matrix_layout_create), decltype(cublasLtMatrixLayoutCreate)>::value);
static_assert(
    Fits<decltype(Api::matrix_layout_destroy), decltype(cublasLtMatrixLayoutDestroy)>::value);
static_assert(Fits<decltype(Api::matrix_layout_set_attribute),
                   decltype(cublasLtMatrixLayoutSetAttribute)>::value);
static_assert(Fits<decltype(Api::matmul), decltype(cublasLtMatmul)>::value);

TEST(CublasLtAbi, TheInstalledLibraryHasAll) {
  const Result<const Api*> api = load();
  if (!api.ok()) GTEST_SKIP() << api.error().message;
  Handle handle = nullptr;
  // Without a driver it says so.
  const Status status = (*api)->create(&handle);
  EXPECT_NE((*api)->get_status_name(status), nullptr);
  if (status == Status::kSuccess) {
    EXPECT_EQ((*api)->destroy(handle), Status::kSuccess);
  }
  // Descriptions need no device.
  Layout layout = nullptr;
  ASSERT_EQ((*api)->matrix_layout_create(&layout, DataType::kInt8, 64, 8, 64), Status::kSuccess);
  const std::int32_t count = 18;
  const std::int64_t stride = 64 * 8;
  EXPECT_EQ((*api)->matrix_layout_set_attribute(layout, LayoutAttribute::kBatchCount, &count, 4),
            Status::kSuccess);
  EXPECT_EQ((*api)->matrix_layout_set_attribute(layout, LayoutAttribute::kBatchStride, &stride, 8),
            Status::kSuccess);
  EXPECT_EQ((*api)->matrix_layout_destroy(layout), Status::kSuccess);
  Desc desc = nullptr;
  ASSERT_EQ((*api)->matmul_desc_create(&desc, ComputeType::k32I, DataType::kInt32),
            Status::kSuccess);
  EXPECT_EQ((*api)->matmul_desc_set_attribute(desc, DescAttribute::kTransA, &kTransposed, 4),
            Status::kSuccess);
  EXPECT_EQ((*api)->matmul_desc_destroy(desc), Status::kSuccess);
}

}  // namespace
}  // namespace beaverpond::cuda::cublaslt
