#include <cstdint>

#include "bench/limits/limits.h"

namespace beaverpond {

// Every loop runs on registers that it neither loads nor stores, in chains that are long enough
// apart for the latency of any machine so far.

double mullq_mac_per_second() {
  constexpr std::uint64_t kLoops = 10'000;
  const double seconds = best_seconds([] {
    for (std::uint64_t i = 0; i < kLoops; ++i) {
      asm volatile(
          ".irp s,1,2,3,4,5,6,7,8,9,10,11,12,13,14\n\t"
          "vpmullq %%zmm0, %%zmm0, %%zmm\\s\n\t"
          ".endr" ::
              : "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                "xmm11", "xmm12", "xmm13", "xmm14");
    }
  });
  return 8.0 * 14 * static_cast<double>(kLoops) / seconds;
}

double hybrid_mac_per_second() {
  constexpr std::uint64_t kLoops = 10'000;
  const double seconds = best_seconds([] {
    for (std::uint64_t i = 0; i < kLoops; ++i) {
      asm volatile(
          ".rept 4\n\t"
          ".irp s,1,2,3,4,5,6,7,8\n\t"
          "vpmadd52luq %%zmm0, %%zmm0, %%zmm\\s\n\t"
          ".endr\n\t"
          ".irp s,9,10,11,12,13,14,15,16\n\t"
          "vpmadd52huq %%zmm0, %%zmm0, %%zmm\\s\n\t"
          ".endr\n\t"
          ".irp s,17,18,19,20\n\t"
          "vpdpwssd %%zmm0, %%zmm0, %%zmm\\s\n\t"
          ".endr\n\t"
          ".endr" ::
              : "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19",
                "xmm20");
    }
  });
  return 16.0 * 4 * 4 * static_cast<double>(kLoops) / seconds;
}

double vaes_bytes_per_second() {
  constexpr std::uint64_t kLoops = 5'000;
  const double seconds = best_seconds([] {
    for (std::uint64_t i = 0; i < kLoops; ++i) {
      asm volatile(
          ".rept 10\n\t"
          ".irp s,1,2,3,4,5,6,7,8,9,10,11,12\n\t"
          "vaesenc %%zmm0, %%zmm\\s, %%zmm\\s\n\t"
          ".endr\n\t"
          ".endr" ::
              : "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                "xmm11", "xmm12");
    }
  });
  return 64.0 * 12 * static_cast<double>(kLoops) / seconds;
}

}  // namespace beaverpond
