// Comparison, truncation and ReLU on the device, one kernel a round. A thread works on 32 elements:
// one 32-bit half of a 64-bit plane word; sixteen neighbouring lanes are a block of 512. Records
// and wires lie as on the CPU (include/beaverpond/compare_layout.h); formulas: kernels/math.
//
// Planes that several nodes index at run time go through shared memory; everything a node computes
// is a template of its number of inputs, so that its arrays stay in registers.
#pragma once

#include <cstdint>

#include "beaverpond/compare_layout.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/half_planes.cuh"
#include "kernels/math/compare_block.h"

namespace beaverpond::cuda {

/// One range of bytes of every block's record, block after block.
struct RecordPieces {
  const std::uint8_t* data = nullptr;
  std::uint64_t stride = 0;  ///< bytes from one block's piece to the next
};

struct CompareJob {
  CompareLayout layout;
  std::uint64_t count = 0;
  std::uint32_t first_block = 0;  ///< of the blocks whose pieces are at hand
  std::uint32_t blocks = 0;
  std::uint32_t* kept = nullptr;  ///< as CompareState::kept
  std::uint32_t one = 0;          ///< all ones on the designated player
};

/// Where a thread's planes lie.
struct HalfLane {
  std::uint32_t block;   ///< counted over the whole tensor
  std::uint32_t local;   ///< among the pieces at hand
  std::uint32_t lane;    ///< 0 .. 15
  std::uint32_t halves;  ///< 32-bit words of a plane of this block in packed wires
  bool active;           ///< this block is at hand
  bool travels;          ///< this lane is part of the packed planes

  __device__ __forceinline__ explicit HalfLane(const CompareJob& job) {
    const std::uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x;
    local = thread / 16;
    lane = thread % 16;
    active = local < job.blocks;
    block = job.first_block + local;
    const std::uint64_t words = (job.count + 63) / 64 - std::uint64_t{block} * 8;
    halves = words < 8 ? static_cast<std::uint32_t>(words) * 2 : 16;
    travels = active && lane < halves;
  }
  __device__ __forceinline__ std::uint32_t plane(const RecordPieces& pieces, int index) const {
    const std::uint8_t* const at = pieces.data + local * pieces.stride + lane * 4;
    return *reinterpret_cast<const std::uint32_t*>(at + 64 * index);
  }
  /// Plane `index` of `planes` in a packed buffer.
  __device__ __forceinline__ std::uint64_t packed(int planes, int index) const {
    return std::uint64_t{block} * 16 * static_cast<std::uint32_t>(planes) +
           halves * static_cast<std::uint32_t>(index) + lane;
  }
  __device__ __forceinline__ std::uint32_t opened(const std::uint32_t* wires, int planes,
                                                  int index) const {
    return travels ? wires[packed(planes, index)] : 0;
  }
  __device__ __forceinline__ std::uint32_t& kept(const CompareJob& job, int index) const {
    const std::uint64_t planes = std::uint64_t{block} * math::KeptPlanes::kCount;
    return job.kept[(planes + static_cast<std::uint32_t>(index)) * 16 + lane];
  }
};

/// XOR of the node's monomials from g_j up to `top`: Compare::node_close and low_from_root, with
/// every index a constant.
template <int inputs, bool wants_p, int top, int j = 0>
__device__ __forceinline__ std::uint32_t monomials(const std::uint32_t* opened,
                                                   const std::uint32_t* masks,
                                                   const std::uint32_t* products,
                                                   const std::uint32_t* subsets) {
  if constexpr (j < top) {
    return HalfMath::monomial(fixed_node<inputs, wants_p>(), j, top, opened, masks, products,
                              subsets) ^
           monomials<inputs, wants_p, top, j + 1>(opened, masks, products, subsets);
  } else {
    return 0;
  }
}

template <int bits>
__device__ __forceinline__ void look_up_chunk(const HalfLane& at, const RecordPieces& tables,
                                              int offset, const std::uint32_t* bit_planes,
                                              std::uint32_t& g, std::uint32_t& p) {
  std::uint32_t chunk[bits];
  std::uint32_t hot[1 << bits];
  std::uint32_t table[1 << bits];
#pragma unroll
  for (int b = 0; b < bits; ++b) chunk[b] = bit_planes[b * kPlaneStride];
#pragma unroll
  for (int v = 0; v < 1 << bits; ++v) table[v] = at.plane(tables, offset + v);
  HalfMath::one_hot(chunk, bits, hot);
  HalfMath::look_up(hot, table, bits, g, p);
}

/// The planes of the opened words of a thread, made by all threads of a warp together in shared
/// memory: kWarpPlanesBytes a warp.
__device__ __forceinline__ const std::uint32_t* opened_planes(const CompareJob& job,
                                                              const HalfLane& at,
                                                              const std::uint64_t* opened) {
  const auto words_of = [&](std::uint32_t local) {
    const std::uint64_t first = (std::uint64_t{job.first_block} + local) * 512;
    return BlockWords{opened + first, first < job.count ? job.count - first : 0};
  };
  return planes_of_warp(words_of(at.local & ~1u), words_of(at.local | 1u));
}

/// Round 2. `masks`: the mask planes of each block; `tables`: the correction's tables.
/// Shared memory: kWarpPlanesBytes a warp.
__global__ void __launch_bounds__(64)
    compare_leaves_kernel(const __grid_constant__ CompareJob job, const std::uint64_t* opened,
                          RecordPieces masks, RecordPieces tables, std::uint32_t* wires) {
  const HalfLane at(job);
  const std::uint32_t* const planes = opened_planes(job, at, opened);
  if (!at.active) return;
  at.kept(job, math::KeptPlanes::kTop) = planes[63 * kPlaneStride];
  for (int i = 0; i < job.layout.nodes; ++i) {
    const CompareNode& node = job.layout.node[i];
    with_leaf_shape(node, [&]<int inputs, bool wants_p>() {
      std::uint32_t g[inputs];
      std::uint32_t p[inputs];
#pragma unroll
      for (int c = 0; c < inputs; ++c) {
        const CompareChunk& chunk = job.layout.chunk[node.first_input + c];
        const std::uint32_t* const bits = planes + chunk.low_bit * kPlaneStride;
        switch (chunk.bits) {
          case 1: look_up_chunk<1>(at, tables, chunk.table_offset, bits, g[c], p[c]); break;
          case 2: look_up_chunk<2>(at, tables, chunk.table_offset, bits, g[c], p[c]); break;
          case 3: look_up_chunk<3>(at, tables, chunk.table_offset, bits, g[c], p[c]); break;
          default: look_up_chunk<4>(at, tables, chunk.table_offset, bits, g[c], p[c]); break;
        }
      }
      constexpr CompareNode kNode = fixed_node<inputs, wants_p>();
      std::uint32_t wire[kNode.wires() + 1];
      HalfMath::node_wires(kNode, g, p, wire);
#pragma unroll
      for (int w = 0; w < kNode.wires(); ++w) {
        const std::uint32_t masked = wire[w] ^ at.plane(masks, node.mask_offset + w);
        if (at.travels) wires[at.packed(job.layout.leaf_wires, node.wire_offset + w)] = masked;
      }
      at.kept(job, math::KeptPlanes::kG + i) = g[inputs - 1];
      at.kept(job, math::KeptPlanes::kP + i) = p[0];
    });
  }
}

/// Shares of every leaf node's G and P, in place in `kept`; then the root's wires, masked.
/// `products`: the correction from the product planes on.
__global__ void __launch_bounds__(128)
    compare_nodes_kernel(const __grid_constant__ CompareJob job, const std::uint32_t* leaf,
                         RecordPieces masks, RecordPieces products, std::uint32_t* wires) {
  const HalfLane at(job);
  if (!at.active) return;
  for (int i = 0; i < job.layout.nodes; ++i) {
    const CompareNode& node = job.layout.node[i];
    with_leaf_shape(node, [&]<int inputs, bool wants_p>() {
      constexpr CompareNode kNode = fixed_node<inputs, wants_p>();
      std::uint32_t opened[kNode.wires() + 1];
      std::uint32_t mask[kNode.wires() + 1];
      std::uint32_t product[kNode.products() + 1];
#pragma unroll
      for (int w = 0; w < kNode.wires(); ++w) {
        opened[w] = at.opened(leaf, job.layout.leaf_wires, node.wire_offset + w);
        mask[w] = at.plane(masks, node.mask_offset + w);
      }
#pragma unroll
      for (int w = 0; w < kNode.products(); ++w) {
        product[w] = at.plane(products, node.product_offset + w);
      }
      std::uint32_t& G = at.kept(job, math::KeptPlanes::kG + i);
      std::uint32_t& P = at.kept(job, math::KeptPlanes::kP + i);
      std::uint32_t g = G;
      std::uint32_t p = P;
      if constexpr (inputs > 1) {
        std::uint32_t subsets[1 << kNode.p_wires()];
        HalfMath::p_subsets(kNode, mask, product, job.one, subsets);
        g ^= monomials<inputs, wants_p, inputs - 1>(opened, mask, product, subsets);
        if constexpr (wants_p) p = HalfMath::fold(subsets, opened, kNode.p_wires());
      }
      G = g;
      P = p;
    });
  }
  if (!job.layout.has_root) return;
  // Wires of the root in order: p of all but the lowest node, g of all but the highest.
  const CompareNode& root = job.layout.root;
  const int top = root.inputs - 1;
  for (int w = 0; w < 2 * top; ++w) {
    const int kept = w < top ? math::KeptPlanes::kP + w + 1 : math::KeptPlanes::kG + w - top;
    const std::uint32_t masked = at.kept(job, kept) ^ at.plane(masks, root.mask_offset + w);
    if (at.travels) wires[at.packed(2 * top, w)] = masked;
  }
}

/// Shares of [c < r] of all bits and of the low ones, from the root of `inputs` nodes.
template <int inputs>
__device__ __forceinline__ void close_root(const CompareJob& job, const HalfLane& at,
                                           const std::uint32_t* wires, const RecordPieces& masks,
                                           const RecordPieces& products, std::uint32_t& less,
                                           std::uint32_t& low) {
  constexpr CompareNode kNode = fixed_node<inputs, false>();
  const CompareNode& root = job.layout.root;
  std::uint32_t opened[kNode.wires()];
  std::uint32_t mask[kNode.wires()];
  std::uint32_t product[kNode.products() + 1];
#pragma unroll
  for (int w = 0; w < kNode.wires(); ++w) {
    opened[w] = at.opened(wires, kNode.wires(), w);
    mask[w] = at.plane(masks, root.mask_offset + w);
  }
#pragma unroll
  for (int w = 0; w < kNode.products(); ++w) {
    product[w] = at.plane(products, root.product_offset + w);
  }
  std::uint32_t subsets[1 << kNode.p_wires()];
  HalfMath::p_subsets(kNode, mask, product, job.one, subsets);
  less = at.kept(job, math::KeptPlanes::kG + inputs - 1) ^
         monomials<inputs, false, inputs - 1>(opened, mask, product, subsets);
  const auto low_of = [&]<int nodes>() {
    return at.kept(job, math::KeptPlanes::kG + nodes - 1) ^
           monomials<inputs, false, nodes - 1>(opened, mask, product, subsets);
  };
  const int low_nodes = job.layout.low_nodes;
  if (low_nodes == inputs) low = less;
  if constexpr (inputs > 2) {
    if (low_nodes == 2) low = low_of.template operator()<2>();
  }
  if constexpr (inputs > 3) {
    if (low_nodes == 3) low = low_of.template operator()<3>();
  }
  if constexpr (inputs > 4) {
    if (low_nodes == 4) low = low_of.template operator()<4>();
  }
}

/// Shares of delta = d ^ b and lambda = low ^ b2. `top_plane`: index of r_top among the planes of
/// `products`.
__global__ void __launch_bounds__(128)
    compare_root_kernel(const __grid_constant__ CompareJob job, const std::uint32_t* root_wires,
                        RecordPieces masks, RecordPieces products, int top_plane,
                        std::uint32_t* bits) {
  const HalfLane at(job);
  if (!at.active) return;
  const CompareLayout& layout = job.layout;
  std::uint32_t less = 0;
  if (layout.nodes > 0) less = at.kept(job, math::KeptPlanes::kG);
  std::uint32_t low = layout.wide ? at.kept(job, math::KeptPlanes::kLow) : less;
  if (layout.has_root) {
    switch (layout.root.inputs) {
      case 2: close_root<2>(job, at, root_wires, masks, products, less, low); break;
      case 3: close_root<3>(job, at, root_wires, masks, products, less, low); break;
      case 4: close_root<4>(job, at, root_wires, masks, products, less, low); break;
      default: close_root<5>(job, at, root_wires, masks, products, less, low); break;
    }
  }
  if (!at.travels) return;
  int out = 0;
  if (layout.wants_sign) {
    const std::uint32_t top = job.one & ~at.kept(job, math::KeptPlanes::kTop);
    bits[at.packed(layout.final_bits, out++)] =
        top ^ at.plane(products, top_plane) ^ less ^ at.plane(masks, layout.b_plane);
  }
  if (layout.wants_low) {
    bits[at.packed(layout.final_bits, out)] = low ^ at.plane(masks, layout.b2_plane);
  }
}

struct FinishJob {
  const std::uint64_t* opened = nullptr;
  const std::uint64_t* final_bits = nullptr;     ///< opened delta and lambda, packed
  const std::uint64_t* forward_delta = nullptr;  ///< null: delta is in final_bits, or not used
  const std::uint64_t* forward_b = nullptr;
  const std::uint64_t* x = nullptr;
  std::uint64_t* delta = nullptr;  ///< written where the layout has a sign
  std::uint64_t* out = nullptr;
  std::uint64_t* b_out = nullptr;  ///< null: not wanted
  RecordPieces material;           ///< the correction from packed_offset on
};

/// The result's shares, one thread an element.
__global__ void __launch_bounds__(128)
    compare_finish_kernel(const __grid_constant__ CompareJob job, FinishJob f) {
  const CompareLayout& layout = job.layout;
  const std::uint64_t local = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::uint64_t i = std::uint64_t{job.first_block} * 512 + local;
  if (local >= std::uint64_t{job.blocks} * 512 || i >= job.count) return;
  const std::uint64_t block = i / 512;
  const std::uint64_t in_block = i % 512;
  const std::uint64_t words = (job.count + 63) / 64 - block * 8;
  const std::uint64_t plane_words = words < 8 ? words : 8;
  const std::uint64_t word = in_block / 64;
  const int bit = static_cast<int>(in_block % 64);
  const std::uint64_t* const planes =
      f.final_bits + block * 8 * static_cast<std::uint32_t>(layout.final_bits);
  std::uint64_t delta = 0;
  std::uint64_t lambda = 0;
  if (layout.wants_low) {
    lambda = (planes[(layout.wants_sign ? plane_words : 0) + word] >> bit) & 1;
  }
  if (layout.wants_sign) {
    if (bit == 0) f.delta[block * 8 + word] = planes[word];
    delta = (planes[word] >> bit) & 1;
  } else if (f.forward_delta != nullptr) {
    delta = (f.forward_delta[block * 8 + word] >> bit) & 1;
  }
  const std::uint8_t* const record =
      f.material.data + (block - job.first_block) * f.material.stride;
  const std::uint8_t* const arrays = record + (layout.words_offset() - layout.packed_offset());
  const auto array = [&](int index) {
    return reinterpret_cast<const std::uint64_t*>(
        arrays +
        layout.word_array_bytes() * static_cast<std::uint64_t>(index < 0 ? 0 : index))[in_block];
  };
  const auto packed = [&](int index) {
    return load_packed_word(record + layout.packed_array_bytes() * static_cast<unsigned>(index) +
                                static_cast<unsigned>(layout.packed_bytes) * in_block,
                            layout.packed_bytes);
  };
  using R = math::Ring<64>;
  const std::uint64_t one = job.one & 1;
  const std::uint64_t c = f.opened[i];
  std::uint64_t b = 0;
  if (layout.wants_sign) {
    b = array(layout.word_b);
    if (f.b_out != nullptr) f.b_out[i] = b;
  } else if (f.forward_b != nullptr) {
    b = f.forward_b[i];
  }
  if (!layout.wants_low) {  // kRelu, kMultiplyBit: b x = c b - b r
    f.out[i] = math::times_bit<R>(delta, f.x[i], math::opened_times_b(c, b, array(layout.word_bR)));
    return;
  }
  const math::PublicTruncation t = math::public_truncation<R>(c, lambda, layout.shift);
  const std::uint64_t y = math::truncated<R>(t, one, array(layout.word_R), array(layout.word_b2),
                                             packed(0), layout.shift);
  if (layout.use == CompareUse::kTruncate) {
    f.out[i] = y;
    return;
  }
  const std::uint64_t by = math::truncated_times_b<R>(
      t, b, array(layout.word_bR), array(layout.word_bb2), packed(1), layout.shift);
  f.out[i] = math::times_bit<R>(delta, y, by);
}

struct BitToWordElement {
  const std::uint64_t *delta, *b;
  std::uint64_t one;
  std::uint64_t* out;
  __device__ void operator()(std::uint64_t i) const {
    const std::uint64_t d = (delta[i >> 6] >> (i & 63)) & 1;
    out[i] = math::times_bit<math::Ring<64>>(d, one, b[i]);
  }
};

}  // namespace beaverpond::cuda
