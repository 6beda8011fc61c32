#include "kernels/securenn/digits.h"

#include "kernels/features.h"

namespace beaverpond::securenn {

bool machine_has_digits_avx512() {
  return cpu_has_avx512() && __builtin_cpu_supports("avx512vbmi") &&
         __builtin_cpu_supports("avx512vbmi2");
}

const DigitKernels& digit_kernels() {
  static const DigitKernels& best =
      machine_has_digits_avx512() ? kDigitsAvx512 : kDigitsPortable;
  return best;
}

}  // namespace beaverpond::securenn
