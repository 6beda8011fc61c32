#include "kernels/cpu/compare_kernels.h"
#include "kernels/features.h"

namespace beaverpond::cpu {

const CompareKernels& best_compare_kernels() {
  static const CompareKernels& best = []() -> const CompareKernels& {
    if (cpu_has_avx512()) return kCompareAvx512;
    return cpu_has_avx2() ? kCompareAvx2 : kComparePortable;
  }();
  return best;
}

}  // namespace beaverpond::cpu
