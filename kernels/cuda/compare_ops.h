// Comparisons and lookups on a device: the rounds of a player and the dealer's side, block after
// block of records expanded into scratch memory. As Backend's operations of these names.
#pragma once

#include "kernels/backend.h"
#include "kernels/cuda/work.h"

namespace beaverpond::cuda {

void compare_open(Work& work, const CompareState& state, ConstWords x, std::uint64_t constant,
                  Words out, cudaStream_t stream);
void compare_leaves(Work& work, const CompareState& state, Words out, cudaStream_t stream);
void compare_nodes(Work& work, const CompareState& state, ConstWords leaf, Words out,
                   cudaStream_t stream);
void compare_root(Work& work, const CompareState& state, ConstWords root, Words out,
                  cudaStream_t stream);
void compare_finish(Work& work, const CompareState& state, ConstWords final, ConstWords x,
                    const BitShare& forward, Words out, Words b, cudaStream_t stream);
void bit_to_word(Work& work, const BitShare& bit, bool designated, Words out, cudaStream_t stream);
void deal_compare(Work& work, const Backend::DealCompare& deal, cudaStream_t stream);

void lookup_open(Work& work, const Material& material, int bits, ConstWords x, Words out,
                 cudaStream_t stream);
void lookup_finish(Work& work, const Material& material, int bits, ConstWords opened, Words out,
                   cudaStream_t stream);
void deal_lookup(Work& work, const Backend::DealLookup& deal, cudaStream_t stream);

}  // namespace beaverpond::cuda
