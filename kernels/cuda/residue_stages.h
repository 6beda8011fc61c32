// The stages of a ring product by residues that do not depend on the operands.
#pragma once

#include <cstdint>

#include "kernels/cuda/product_planes.h"
#include "kernels/cuda/work.h"

namespace beaverpond::cuda {

/// planes.c = the residues of the product of planes.a and planes.b.
void multiply_planes(Work& work, const ProductPlanes& planes, cudaStream_t stream);
/// out[m, n] (+)= the words whose residues planes.c holds; rows of out are `out_pitch` words apart.
void recover_product(Work& work, const ProductPlanes& planes, std::uint64_t* out,
                     std::uint32_t out_pitch, bool accumulate, cudaStream_t stream);

/// The same from the sums of LibraryProducts::multiply.
void recover_library_product(Work& work, const ProductPlanes& planes, const std::int32_t* sums,
                             std::uint64_t* out, std::uint32_t out_pitch, bool accumulate,
                             cudaStream_t stream);

}  // namespace beaverpond::cuda
