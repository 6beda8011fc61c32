#include <algorithm>

#include "kernels/cuda/residue_product.cuh"
#include "kernels/cuda/residue_stages.h"
#include "kernels/cuda/residues.cuh"

namespace beaverpond::cuda {

namespace {

template <class Tile>
void multiply_with(Work& work, const ProductPlanes& planes, cudaStream_t stream) {
  const dim3 grid(blocks_for(planes.n, Tile::kN), blocks_for(planes.m, Tile::kM), kModuli);
  work.run("multiply residues", &multiply_residues<Tile>,
           {grid, dim3(Tile::kThreads), Tile::kSharedBytes}, stream, planes, modulus_list());
}

}  // namespace

void multiply_planes(Work& work, const ProductPlanes& planes, cudaStream_t stream) {
  // Wide tiles where they fill the device and little of the last one is empty.
  const unsigned wide = blocks_for(planes.n, ProductWide::kN);
  const unsigned narrow = blocks_for(planes.n, ProductNarrow::kN);
  const std::uint64_t blocks =
      std::uint64_t{wide} * blocks_for(planes.m, ProductWide::kM) * kModuli;
  const auto fills = 2 * static_cast<std::uint64_t>(work.properties().multiprocessors);
  if (narrow == 2 * wide && blocks >= fills) {
    multiply_with<ProductWide>(work, planes, stream);
  } else {
    multiply_with<ProductNarrow>(work, planes, stream);
  }
}

void recover_product(Work& work, const ProductPlanes& planes, std::uint64_t* out,
                     std::uint32_t out_pitch, bool accumulate, cudaStream_t stream) {
  const std::uint64_t quads = std::uint64_t{planes.m} * ((planes.n + 3) / 4);
  work.run("recover words", accumulate ? &recover_words<true> : &recover_words<false>,
           {dim3(blocks_for(quads, 256)), dim3(256), 0}, stream, planes.c, kRecovery, out,
           out_pitch, planes.m, planes.n, planes.c_pitch, std::uint64_t{planes.m} * planes.c_pitch);
}

void recover_library_product(Work& work, const ProductPlanes& planes, const std::int32_t* sums,
                             std::uint64_t* out, std::uint32_t out_pitch, bool accumulate,
                             cudaStream_t stream) {
  const std::uint64_t quads = std::uint64_t{planes.m} * ((planes.n + 3) / 4);
  work.run("recover words", accumulate ? &recover_sums<true> : &recover_sums<false>,
           {dim3(blocks_for(quads, 256)), dim3(256), 0}, stream, sums, kRecovery, modulus_list(),
           out, out_pitch, planes.m, planes.n, planes.c_pitch,
           std::uint64_t{planes.m} * planes.c_pitch);
}

}  // namespace beaverpond::cuda
