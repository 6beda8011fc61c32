// Prints, as JSON, the clock and the limits that the kernels' rows are compared with.
//
//   beaverpond-limits-bench
#include "bench/limits/limits.h"

#include <cstdint>
#include <cstdio>

#include "kernels/features.h"
#include "kernels/gemm/gemm.h"

namespace beaverpond {
namespace {

/// A chain of additions, each of which waits for the one before: one a cycle.
double clock_hz() {
  constexpr std::uint64_t kLoops = 10'000;
  const double seconds = best_seconds([] {
    std::uint64_t x = 0;
    const std::uint64_t step = 3;  // in a register: additions of constants may be folded
    for (std::uint64_t i = 0; i < kLoops; ++i) {
      asm volatile(
          ".rept 64\n\t"
          "add %1, %0\n\t"
          ".endr"
          : "+r"(x)
          : "r"(step));
    }
  });
  return 64 * static_cast<double>(kLoops) / seconds;
}

}  // namespace
}  // namespace beaverpond

int main() {
  using namespace beaverpond;
  const GemmKernel kernel = best_gemm_kernel();
  std::printf("{\"clock_hz\": %.4g, \"gemm_kernel\": \"%s\"", clock_hz(), to_string(kernel));
  if (kernel == GemmKernel::kHybrid) {
    std::printf(", \"mac_per_second\": %.4g", hybrid_mac_per_second());
  } else if (kernel == GemmKernel::kAvx512) {
    std::printf(", \"mac_per_second\": %.4g", mullq_mac_per_second());
  }
  if (cpu_has_avx512() && cpu_has_vaes()) {
    std::printf(", \"aes_bytes_per_second\": %.4g", vaes_bytes_per_second());
  }
  std::printf("}\n");
  return 0;
}
