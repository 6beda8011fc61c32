// The dealer's side of a comparison on the device: clear records from clear masks. What makes them
// shares, the other players' streams, is taken out of planes and words by the stream kernels, and
// out of packed words by subtract_packed.
#pragma once

#include <cstdint>

#include "kernels/cuda/half_planes.cuh"
#include "kernels/math/truncation.h"

namespace beaverpond::cuda {

struct DealJob {
  CompareLayout layout;
  std::uint32_t blocks = 0;
  const std::uint8_t* masks = nullptr;      ///< mask records in the clear, block after block
  const std::uint8_t* forward_b = nullptr;  ///< one plane a block, or null
  std::uint8_t* records = nullptr;          ///< correction records, block after block

  __device__ __forceinline__ const std::uint8_t* mask_record(std::uint64_t block) const {
    return masks + block * layout.mask_record_bytes();
  }
  __device__ __forceinline__ std::uint8_t* record(std::uint64_t block) const {
    return records + block * layout.correction_record_bytes();
  }
  /// The plane b of a block, 8 words; null where the layout uses none.
  __device__ __forceinline__ const std::uint8_t* b_plane(std::uint64_t block) const {
    if (forward_b != nullptr) return forward_b + block * 64;
    if (!layout.wants_sign) return nullptr;
    return mask_record(block) + layout.mask_planes_offset() +
           64 * static_cast<std::uint64_t>(layout.b_plane);
  }
};

/// Compare::deal_products with every index a constant.
template <int inputs, bool wants_p, int j = 0>
__device__ __forceinline__ void deal_g_products(const std::uint32_t* masks,
                                                const std::uint32_t* subsets,
                                                std::uint32_t* products) {
  if constexpr (j + 1 < inputs) {
    HalfMath::deal_g_products(fixed_node<inputs, wants_p>(), j, masks, subsets, products);
    deal_g_products<inputs, wants_p, j + 1>(masks, subsets, products);
  }
}
template <int inputs, bool wants_p>
__device__ __forceinline__ void deal_node(const std::uint32_t* masks, std::uint32_t* products) {
  constexpr CompareNode kNode = fixed_node<inputs, wants_p>();
  std::uint32_t subsets[1 << kNode.p_wires()];
  HalfMath::deal_p_products(kNode, masks, subsets, products);
  deal_g_products<inputs, wants_p>(masks, subsets, products);
}

template <int bits>
__device__ __forceinline__ void deal_table(const std::uint32_t* bit_planes, std::uint32_t* out) {
  std::uint32_t chunk[bits];
  std::uint32_t hot[1 << bits];
#pragma unroll
  for (int b = 0; b < bits; ++b) chunk[b] = bit_planes[b * kPlaneStride];
  HalfMath::one_hot(chunk, bits, hot);
#pragma unroll
  for (int v = 0; v < 1 << bits; ++v) out[16 * v] = hot[v];
}

/// The 32 elements of a thread, as in compare.cuh. Made by all threads of a warp together, which
/// transpose their masks into shared memory: kWarpPlanesBytes a warp.
struct DealLane {
  std::uint32_t block, lane;
  const std::uint32_t* planes;  ///< bit b of r at [b * kPlaneStride]
  bool active;

  __device__ __forceinline__ explicit DealLane(const DealJob& job) {
    const std::uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x;
    block = thread / 16;
    lane = thread % 16;
    const auto masks_of = [&](std::uint32_t of) {
      return BlockWords{reinterpret_cast<const std::uint64_t*>(job.mask_record(of)),
                        of < job.blocks ? 512u : 0u};
    };
    planes = planes_of_warp(masks_of(block & ~1u), masks_of(block | 1u));
    active = block < job.blocks;
  }
  __device__ __forceinline__ const std::uint32_t* mask_planes(const DealJob& job) const {
    return reinterpret_cast<const std::uint32_t*>(job.mask_record(block) +
                                                  job.layout.mask_planes_offset()) +
           lane;
  }
  __device__ __forceinline__ std::uint32_t* record(const DealJob& job) const {
    return reinterpret_cast<std::uint32_t*>(job.record(block)) + lane;
  }
};

/// Tables, products and r_top. Shared memory: kWarpPlanesBytes a warp.
__global__ void __launch_bounds__(64) deal_planes_kernel(const __grid_constant__ DealJob job) {
  const DealLane at(job);
  if (!at.active) return;
  const CompareLayout& layout = job.layout;
  const std::uint32_t* const planes = at.planes;
  const std::uint32_t* const mask_planes = at.mask_planes(job);
  std::uint32_t* const record = at.record(job);
  for (int i = 0; i < layout.chunks; ++i) {
    const CompareChunk& chunk = layout.chunk[i];
    const std::uint32_t* const bits = planes + chunk.low_bit * kPlaneStride;
    std::uint32_t* const out = record + 16 * chunk.table_offset;
    switch (chunk.bits) {
      case 1: deal_table<1>(bits, out); break;
      case 2: deal_table<2>(bits, out); break;
      case 3: deal_table<3>(bits, out); break;
      default: deal_table<4>(bits, out); break;
    }
  }
  std::uint32_t* const products = record + 16 * layout.table_planes;
  const auto deal = [&]<int inputs, bool wants_p>(const CompareNode& node) {
    constexpr CompareNode kNode = fixed_node<inputs, wants_p>();
    if constexpr (inputs > 1) {
      std::uint32_t mask[kNode.wires()];
      std::uint32_t product[kNode.products() + 1];
#pragma unroll
      for (int w = 0; w < kNode.wires(); ++w) {
        mask[w] = mask_planes[16 * (node.mask_offset + w)];
      }
      deal_node<inputs, wants_p>(mask, product);
#pragma unroll
      for (int w = 0; w < kNode.products(); ++w) {
        products[16 * (node.product_offset + w)] = product[w];
      }
    }
  };
  for (int i = 0; i < layout.nodes; ++i) {
    const CompareNode& node = layout.node[i];
    with_leaf_shape(
        node, [&]<int inputs, bool wants_p>() { deal.template operator()<inputs, wants_p>(node); });
  }
  if (layout.has_root) {
    switch (layout.root.inputs) {
      case 2: deal.template operator()<2, false>(layout.root); break;
      case 3: deal.template operator()<3, false>(layout.root); break;
      case 4: deal.template operator()<4, false>(layout.root); break;
      default: deal.template operator()<5, false>(layout.root); break;
    }
  }
  if (layout.wants_sign) {
    products[16 * layout.product_planes] = planes[63 * kPlaneStride];
  }
}

/// The word arrays and the packed words, one thread an element.
__global__ void __launch_bounds__(128) deal_words_kernel(const __grid_constant__ DealJob job) {
  const CompareLayout& layout = job.layout;
  const std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::uint64_t block = i / 512;
  const std::uint64_t at = i % 512;
  if (block >= job.blocks) return;
  const std::uint64_t r = reinterpret_cast<const std::uint64_t*>(job.mask_record(block))[at];
  const auto bit_of = [at](const std::uint8_t* plane) {
    const std::uint64_t word = reinterpret_cast<const std::uint64_t*>(plane)[at / 64];
    return (word >> (at % 64)) & 1;
  };
  const std::uint8_t* const b_plane = job.b_plane(block);
  const std::uint64_t b = b_plane == nullptr ? 0 : bit_of(b_plane);
  std::uint64_t b2 = 0;
  if (layout.wants_low) {
    b2 = bit_of(job.mask_record(block) + layout.mask_planes_offset() +
                64 * static_cast<std::uint64_t>(layout.b2_plane));
  }
  const std::uint64_t high = math::dealt_high(r, layout.wants_low, layout.shift);
  std::uint8_t* const record = job.record(block);
  const auto put = [&](int array, std::uint64_t word) {
    if (array < 0) return;
    reinterpret_cast<std::uint64_t*>(record + layout.word_offset(array))[at] = word;
  };
  put(layout.word_R, high);
  put(layout.word_b2, b2);
  put(layout.word_b, b);
  put(layout.word_bR, math::dealt_times_b(b, high));
  put(layout.word_bb2, math::dealt_bits(b, b2));
  for (int a = 0; a < layout.packed_arrays; ++a) {
    store_packed_word(math::dealt_top<math::Ring<64>>(r, a == 0 ? 1 : b), layout.packed_bytes,
                      record + layout.packed_offset() +
                          layout.packed_array_bytes() * static_cast<unsigned>(a) +
                          static_cast<unsigned>(layout.packed_bytes) * at);
  }
}

/// Takes one player's stream out of the packed words: only the low packed_bytes of a difference
/// are kept. `stream`: the stream's packed pieces, block after block.
struct SubtractPackedElement {
  std::uint64_t packed_offset, record_bytes, piece_words;
  int bytes;
  const std::uint8_t* stream;
  std::uint8_t* records;
  __device__ void operator()(std::uint64_t i) const {
    const std::uint64_t block = i / piece_words;
    const std::uint64_t word = i % piece_words;
    std::uint8_t* const at =
        records + block * record_bytes + packed_offset + static_cast<unsigned>(bytes) * word;
    const std::uint8_t* const from = stream + static_cast<unsigned>(bytes) * i;
    store_packed_word(load_packed_word(at, bytes) - load_packed_word(from, bytes), bytes, at);
  }
};

}  // namespace beaverpond::cuda
