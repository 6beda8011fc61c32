// kernels/features.h for this test: the instruction sets that BEAVERPOND_TEST_ISA allows. valgrind
// knows no AVX-512, so what it runs is `portable` or `avx2`.
#include "kernels/features.h"

#include <cstdlib>
#include <cstring>

namespace beaverpond {
namespace {

bool avx2_is_wanted() {
  const char* const wanted = std::getenv("BEAVERPOND_TEST_ISA");
  return wanted != nullptr && std::strcmp(wanted, "avx2") == 0;
}

}  // namespace

bool cpu_has_avx2() {
  return avx2_is_wanted() && __builtin_cpu_supports("avx2");
}
bool cpu_has_aes() {
  return avx2_is_wanted() && __builtin_cpu_supports("aes");
}
bool cpu_has_avx512() {
  return false;
}
bool cpu_has_vaes() {
  return false;
}
bool cpu_has_ifma_and_vnni() {
  return false;
}
bool cpu_is_intel() {
  return false;
}

}  // namespace beaverpond
