// The residues of one product: what the stages of kernels/cuda/residue_stages.h hand on.
#pragma once

#include <cstdint>

#include "kernels/cuda/residue_tables.h"

namespace beaverpond::cuda {

struct ProductPlanes {
  const std::uint8_t* a = nullptr;  ///< [modulus][m][pitch]
  const std::uint8_t* b = nullptr;  ///< [modulus][n][pitch]
  std::uint8_t* c = nullptr;        ///< [modulus][m][c_pitch], c_pitch a multiple of 16
  std::uint32_t m = 0;
  std::uint32_t n = 0;
  std::uint32_t pitch = 0;  ///< bytes of k in a row, a multiple of 64
  std::uint32_t c_pitch = 0;
};

struct ModulusList {
  std::uint32_t modulus[kModuli];
};
constexpr ModulusList modulus_list() {
  ModulusList list{};
  for (int i = 0; i < kModuli; ++i) list.modulus[i] = kModulus[i];
  return list;
}

}  // namespace beaverpond::cuda
