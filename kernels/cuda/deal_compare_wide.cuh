// The dealer's side of a wide comparison on the device: see deal_compare.cuh.
#pragma once

#include "kernels/cuda/deal_compare.cuh"
#include "kernels/cuda/half_wide.cuh"

namespace beaverpond::cuda {

/// As deal_planes_kernel.
__global__ void __launch_bounds__(64) deal_wide_planes_kernel(const __grid_constant__ DealJob job) {
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
    with_chunk(
        chunk, bits,
        [&]<int size>() {
          std::uint32_t hot[1 << size];
          hot_planes<size>(bits, hot);
#pragma unroll
          for (int v = 0; v < 1 << size; ++v) out[16 * v] = hot[v];
        },
        [&](const std::uint32_t* hot) {
          HalfWide::one_hot(
              hot, [&](int b) { return bits[(HalfWide::kRowBits + b) * kPlaneStride]; },
              chunk.bits - HalfWide::kRowBits,
              [&](int v, std::uint32_t plane) { out[16 * v] = plane; });
        });
  }
  constexpr int kMost = CompareNode::kMaxWideInputs - 1;
  const CompareNode& node = layout.node[0];
  std::uint32_t p_masks[kMost];
#pragma unroll
  for (int i = 0; i < kMost; ++i) {
    p_masks[i] = i + 1 < node.inputs ? mask_planes[16 * (node.mask_offset + i)] : 0;
  }
  const auto g_mask = [&](int j) {
    return mask_planes[16 * (node.mask_offset + node.inputs - 1 + j)];
  };
  std::uint32_t* const products = record + 16 * layout.table_planes;
  HalfWide::deal_products(node.inputs, p_masks, g_mask,
                          [&](int i, std::uint32_t plane) { products[16 * i] = plane; });
  if (layout.wants_sign) {
    products[16 * layout.product_planes] = planes[63 * kPlaneStride];
  }
}

}  // namespace beaverpond::cuda
