#include "kernels/features.h"

#include <cpuid.h>

namespace beaverpond {

bool cpu_has_avx2() {
  return __builtin_cpu_supports("avx2");
}

bool cpu_has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

bool cpu_has_aes() {
  return __builtin_cpu_supports("aes");
}

bool cpu_has_ifma_and_vnni() {
  return __builtin_cpu_supports("avx512ifma") && __builtin_cpu_supports("avx512vnni");
}

bool cpu_is_intel() {
  return __builtin_cpu_is("intel");
}

bool cpu_has_vaes() {
  // Not __builtin_cpu_supports: clang 14 does not know "vaes". Asked once: under a hypervisor each
  // CPUID instruction costs tens of microseconds.
  static const bool has_vaes = [] {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ecx & (1u << 9)) != 0;
  }();
  return has_vaes;
}

}  // namespace beaverpond
