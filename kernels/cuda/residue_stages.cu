#include "kernels/cuda/residue_stages.h"

#include <algorithm>

#include "kernels/cuda/residue_product.cuh"
#include "kernels/cuda/residues.cuh"

namespace beaverpond::cuda {

void multiply_planes(Work& work, const ProductPlanes& planes, cudaStream_t stream) {
  using Tile = ProductTile;
  ModulusList moduli;
  std::copy(std::begin(kModulus), std::end(kModulus), moduli.modulus);
  const dim3 grid(blocks_for(planes.n, Tile::kN), blocks_for(planes.m, Tile::kM), kModuli);
  work.run("multiply residues", &multiply_residues,
           {grid, dim3(Tile::kThreads), Tile::kSharedBytes}, stream, planes, moduli);
}

void recover_product(Work& work, const ProductPlanes& planes, std::uint64_t* out, bool accumulate,
                     cudaStream_t stream) {
  const std::uint64_t quads = std::uint64_t{planes.m} * ((planes.n + 3) / 4);
  work.run("recover words", accumulate ? &recover_words<true> : &recover_words<false>,
           {dim3(blocks_for(quads, 256)), dim3(256), 0}, stream, planes.c, residue_recovery(), out,
           planes.m, planes.n, planes.c_pitch, std::uint64_t{planes.m} * planes.c_pitch);
}

}  // namespace beaverpond::cuda
