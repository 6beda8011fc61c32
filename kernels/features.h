// Which instruction sets this machine, and its operating system, can run.
#pragma once

namespace beaverpond {

bool cpu_has_avx2();
/// F, DQ, BW and VL together: every server since 2017 that has one has all.
bool cpu_has_avx512();
/// AES rounds on 128-bit registers.
bool cpu_has_aes();
/// AES rounds on the wide registers. Implies neither AVX2 nor AVX-512.
bool cpu_has_vaes();
/// 52-bit and 16-bit multiply-add on 512-bit registers.
bool cpu_has_ifma_and_vnni();
bool cpu_is_intel();

}  // namespace beaverpond
