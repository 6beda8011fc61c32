// The wide comparison on the device: chunks of up to 8 bits, one node for all. Threads, records and
// wires as in compare.cuh; formulas: kernels/math/compare_wide.h.
#pragma once

#include "kernels/cuda/compare.cuh"
#include "kernels/cuda/half_wide.cuh"

namespace beaverpond::cuda {

/// As compare_leaves_kernel.
__global__ void __launch_bounds__(64)
    compare_wide_leaves_kernel(const __grid_constant__ CompareJob job, const std::uint64_t* opened,
                               RecordPieces masks, RecordPieces tables, std::uint32_t* wires) {
  const HalfLane at(job);
  const std::uint32_t* const planes = opened_planes(job, at, opened);
  if (!at.active) return;
  at.kept(job, math::KeptPlanes::kTop) = planes[63 * kPlaneStride];
  const CompareNode& node = job.layout.node[0];
  const auto send = [&](int wire, std::uint32_t share) {
    const std::uint32_t masked = share ^ at.plane(masks, node.mask_offset + wire);
    if (at.travels) wires[at.packed(job.layout.leaf_wires, node.wire_offset + wire)] = masked;
  };
  for (int i = 0; i < node.inputs; ++i) {
    const CompareChunk& chunk = job.layout.chunk[i];
    const std::uint32_t* const bits = planes + chunk.low_bit * kPlaneStride;
    std::uint32_t g = 0;
    std::uint32_t p = 0;
    with_chunk(
        chunk, bits,
        [&]<int size>() {
          std::uint32_t hot[1 << size];
          std::uint32_t table[1 << size];
          hot_planes<size>(bits, hot);
#pragma unroll
          for (int v = 0; v < 1 << size; ++v) table[v] = at.plane(tables, chunk.table_offset + v);
          HalfMath::look_up(hot, table, size, g, p);
        },
        [&](const std::uint32_t* hot) {
          HalfWide::look_up(
              hot, [&](int b) { return bits[(HalfWide::kRowBits + b) * kPlaneStride]; },
              chunk.bits - HalfWide::kRowBits,
              [&](int v) { return at.plane(tables, chunk.table_offset + v); }, g, p);
        });
    if (i == 0) {
      at.kept(job, math::KeptPlanes::kP) = p;
    } else {
      send(i - 1, p);
    }
    if (i + 1 == node.inputs) {
      at.kept(job, math::KeptPlanes::kG) = g;
    } else {
      send(node.inputs - 1 + i, g);
    }
  }
}

/// Shares of the node's result and of `low`, in place in `kept`.
__global__ void __launch_bounds__(128)
    compare_wide_nodes_kernel(const __grid_constant__ CompareJob job, const std::uint32_t* leaf,
                              RecordPieces masks, RecordPieces products) {
  const HalfLane at(job);
  if (!at.active) return;
  const CompareNode& node = job.layout.node[0];
  std::uint32_t& less = at.kept(job, math::KeptPlanes::kG);
  std::uint32_t low = 0;
  std::uint32_t all = 0;
  HalfWide::close(
      node.inputs, job.layout.low_chunks,
      [&](int i) { return at.opened(leaf, job.layout.leaf_wires, i); },
      [&](int i) { return at.plane(masks, node.mask_offset + i); },
      [&](int i) { return at.plane(products, i); }, job.one, less, all, low);
  less = all;
  at.kept(job, math::KeptPlanes::kLow) = low;
}

}  // namespace beaverpond::cuda
