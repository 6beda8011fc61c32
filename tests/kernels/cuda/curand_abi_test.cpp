// The declarations of curand_api.h against the installed curand.h: it must compile.
#include <curand.h>
#include <gtest/gtest.h>

#include <type_traits>

#include "kernels/cuda/curand_api.h"

namespace beaverpond::cuda::curand {
namespace {

static_assert(static_cast<int>(Status::kSuccess) == CURAND_STATUS_SUCCESS);
static_assert(static_cast<int>(Status::kVersionMismatch) == CURAND_STATUS_VERSION_MISMATCH);
static_assert(static_cast<int>(Status::kNotInitialized) == CURAND_STATUS_NOT_INITIALIZED);
static_assert(static_cast<int>(Status::kAllocationFailed) == CURAND_STATUS_ALLOCATION_FAILED);
static_assert(static_cast<int>(Status::kTypeError) == CURAND_STATUS_TYPE_ERROR);
static_assert(static_cast<int>(Status::kOutOfRange) == CURAND_STATUS_OUT_OF_RANGE);
static_assert(static_cast<int>(Status::kLaunchFailure) == CURAND_STATUS_LAUNCH_FAILURE);
static_assert(static_cast<int>(Status::kPreexistingFailure) == CURAND_STATUS_PREEXISTING_FAILURE);
static_assert(static_cast<int>(Status::kInitializationFailed) ==
              CURAND_STATUS_INITIALIZATION_FAILED);
static_assert(static_cast<int>(Status::kArchMismatch) == CURAND_STATUS_ARCH_MISMATCH);
static_assert(static_cast<int>(Status::kInternalError) == CURAND_STATUS_INTERNAL_ERROR);
static_assert(static_cast<int>(RngType::kPhilox4x32x10) == CURAND_RNG_PSEUDO_PHILOX4_32_10);
static_assert(static_cast<int>(Ordering::kLegacy) == CURAND_ORDERING_PSEUDO_LEGACY);
static_assert(sizeof(Status) == sizeof(curandStatus_t) &&
              sizeof(RngType) == sizeof(curandRngType_t) &&
              sizeof(Ordering) == sizeof(curandOrdering_t) &&
              sizeof(Generator) == sizeof(curandGenerator_t));

/// A function type in which the library's types are replaced by ours.
template <class T>
struct Ours {
  using type = T;
};
template <>
struct Ours<curandStatus_t> {
  using type = Status;
};
template <>
struct Ours<curandGenerator_t> {
  using type = Generator;
};
template <>
struct Ours<curandGenerator_t*> {
  using type = Generator*;
};
template <>
struct Ours<curandRngType_t> {
  using type = RngType;
};
template <>
struct Ours<curandOrdering_t> {
  using type = Ordering;
};
template <class Return, class... Arguments>
typename Ours<Return>::type (*ours(Return (*)(Arguments...)))(typename Ours<Arguments>::type...);

#define SAME(field, function) \
  static_assert(std::is_same_v<decltype(Api::field), decltype(ours(&(function)))>)
SAME(create_generator, curandCreateGenerator);
SAME(create_generator_host, curandCreateGeneratorHost);
SAME(destroy_generator, curandDestroyGenerator);
SAME(set_stream, curandSetStream);
SAME(set_seed, curandSetPseudoRandomGeneratorSeed);
SAME(set_offset, curandSetGeneratorOffset);
SAME(set_ordering, curandSetGeneratorOrdering);
SAME(generate, curandGenerate);
#undef SAME

TEST(CuRandAbi, Compiles) {
  // The library's name, libcurand.so.10, has held since CUDA 10.
  EXPECT_EQ(CURAND_VER_MAJOR, 10);
}

}  // namespace
}  // namespace beaverpond::cuda::curand
