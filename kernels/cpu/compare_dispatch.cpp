#include "kernels/cpu/compare_kernels.h"

namespace beaverpond::cpu {

const CompareKernels& best_compare_kernels() {
  static const CompareKernels& best = []() -> const CompareKernels& {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
      return kCompareAvx512;
    }
    return __builtin_cpu_supports("avx2") ? kCompareAvx2 : kComparePortable;
  }();
  return best;
}

}  // namespace beaverpond::cpu
