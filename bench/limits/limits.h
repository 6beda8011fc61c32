// What one core can do at most, measured on registers alone.
#pragma once

#include <algorithm>
#include <chrono>

namespace beaverpond {

/// Seconds of the fastest of many runs: a neighbour can only slow one down.
template <class Body>
double best_seconds(Body body) {
  double best = 1e9;
  for (int i = 0; i < 200; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

/// Products of 64-bit words, eight by one vpmullq. Their additions are left out: they only slow it
/// down, by how much depends on the machine. AVX-512DQ.
double mullq_mac_per_second();
/// Multiply-accumulates with the instructions of gemm_hybrid.cpp: two vpmadd52luq, two vpmadd52huq
/// and one vpdpwssd for sixteen. AVX-512 IFMA and VNNI.
double hybrid_mac_per_second();
/// AES-128 without its key schedule: ten vaesenc on 512-bit registers for 64 bytes. VAES.
double vaes_bytes_per_second();

}  // namespace beaverpond
