#include "kernels/cpu/compare_impl.h"

namespace beaverpond::cpu {
namespace {

struct TargetPortable {
  typedef std::uint64_t Plane __attribute__((vector_size(64)));
  static constexpr int kWords = 8;
  static BP_MATH_INLINE Plane splat(std::uint64_t v) { return Plane{v, v, v, v, v, v, v, v}; }
};

}  // namespace

const CompareKernels kComparePortable = CompareLoops<TargetPortable>::table("portable");

}  // namespace beaverpond::cpu
