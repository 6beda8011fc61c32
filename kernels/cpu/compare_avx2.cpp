#include "kernels/cpu/compare_impl.h"

namespace beaverpond::cpu {
namespace {

struct TargetAvx2 {
  typedef std::uint64_t Plane __attribute__((vector_size(64)));
  static constexpr int kWords = 8;
  static BP_MATH_INLINE Plane splat(std::uint64_t v) { return Plane{v, v, v, v, v, v, v, v}; }
};

}  // namespace

const CompareKernels kCompareAvx2 = CompareLoops<TargetAvx2>::table("avx2");

}  // namespace beaverpond::cpu
