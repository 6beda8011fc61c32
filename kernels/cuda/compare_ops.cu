#include <algorithm>

#include "kernels/cuda/compare.cuh"
#include "kernels/cuda/compare_ops.h"
#include "kernels/cuda/compare_wide.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch_elements.cuh"
#include "kernels/cuda/streams.h"

namespace beaverpond::cuda {
namespace {

/// The blocks of a comparison, as many at a time as their pieces fit.
struct Chunks {
  std::uint64_t blocks;
  std::uint64_t per_chunk;

  Chunks(const CompareState& state, std::uint64_t piece_bytes, std::uint64_t chunk_bytes)
      : blocks(state.layout->blocks(state.count)),
        per_chunk(
            std::max<std::uint64_t>(1, chunk_bytes / std::max<std::uint64_t>(piece_bytes, 64))) {}
};

/// A range of bytes of every block's record.
struct Range {
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  std::uint64_t size_bytes() const { return to - from; }
};

/// One player's side of one comparison, a chunk of blocks at a time.
class Player {
 public:
  Player(Work& work, const CompareState& state, Range masks, Range correction, cudaStream_t stream)
      : work_(work),
        state_(state),
        layout_(*state.layout),
        masks_(masks),
        correction_(correction),
        stream_(stream),
        chunks_(state, masks.size_bytes() + correction.size_bytes(), work.limits().chunk_bytes) {}

  /// Calls f(job, mask pieces, correction pieces) for each chunk.
  template <class F>
  void for_each_chunk(F&& f) {
    for (std::uint64_t first = 0; first < chunks_.blocks; first += chunks_.per_chunk) {
      const std::uint64_t blocks = std::min(chunks_.per_chunk, chunks_.blocks - first);
      Carving parts;
      const std::uint64_t at_masks = parts.add(blocks * masks_.size_bytes());
      const std::uint64_t at_correction = parts.add(blocks * correction_.size_bytes());
      std::uint8_t* const memory = work_.scratch(parts.size_bytes(), stream_);
      if (memory == nullptr) return;
      CompareJob job;
      job.layout = layout_;
      job.count = state_.count;
      job.first_block = static_cast<std::uint32_t>(first);
      job.blocks = static_cast<std::uint32_t>(blocks);
      job.kept = reinterpret_cast<std::uint32_t*>(state_.kept.data());
      job.one = state_.material.designated ? ~0u : 0u;
      expand(state_.material.mask_stream, first, blocks, layout_.mask_record_bytes(), masks_,
             memory + at_masks);
      correction(first, blocks, memory + at_correction);
      f(job, RecordPieces{memory + at_masks, masks_.size_bytes()},
        RecordPieces{memory + at_correction, correction_.size_bytes()});
    }
  }

 private:
  void expand(std::uint64_t index, std::uint64_t first, std::uint64_t blocks,
              std::uint64_t record_bytes, Range range, std::uint8_t* to) {
    if (range.size_bytes() == 0) return;
    const StreamStart start{state_.material.seed, state_.material.prg, index,
                            (state_.first_block + first) * record_bytes + range.from};
    const StreamPieces pieces{to,           blocks * range.size_bytes(), blocks, range.size_bytes(),
                              record_bytes, range.size_bytes()};
    run_stream(work_, start, StreamUse::kFill, pieces, stream_);
  }
  void correction(std::uint64_t first, std::uint64_t blocks, std::uint8_t* to) {
    const std::uint64_t record = layout_.correction_record_bytes();
    const Material& m = state_.material;
    if (m.correction == nullptr) {
      return expand(m.correction_stream, first, blocks, record, correction_, to);
    }
    if (correction_.size_bytes() == 0 || !work_.ok()) return;
    const std::uint8_t* const from =
        m.correction + (state_.first_block + first) * record + correction_.from;
    const std::uint64_t piece = correction_.size_bytes();
    // A copy of rows may read whole rows, and the last ends where the host's memory may end.
    work_.before_copy_blocking(from, (blocks - 1) * record + piece, stream_);
    if (blocks > 1 && work_.ok()) {
      work_.note(cudaMemcpy2DAsync(to, piece, from, record, piece, blocks - 1,
                                   cudaMemcpyHostToDevice, stream_),
                 "upload a correction");
    }
    work_.copy(to + (blocks - 1) * piece, from + (blocks - 1) * record, piece,
               cudaMemcpyHostToDevice, stream_);
  }

  Work& work_;
  const CompareState& state_;
  const CompareLayout& layout_;
  Range masks_;
  Range correction_;
  cudaStream_t stream_;
  Chunks chunks_;
};

Range mask_planes(const CompareLayout& layout) {
  return {layout.mask_planes_offset(), layout.mask_record_bytes()};
}

const std::uint32_t* halves(ConstWords words) {
  return reinterpret_cast<const std::uint32_t*>(words.data());
}
std::uint32_t* halves(Words words) {
  return reinterpret_cast<std::uint32_t*>(words.data());
}

/// Sixteen threads a block of 512 elements.
LaunchShape half_lanes(const CompareJob& job, unsigned threads, std::uint32_t shared_bytes) {
  return {dim3(blocks_for(std::uint64_t{job.blocks} * 16, threads)), dim3(threads), shared_bytes};
}

}  // namespace

void compare_open(Work& work, const CompareState& state, ConstWords x, std::uint64_t constant,
                  Words out, cudaStream_t stream) {
  const CompareLayout& layout = *state.layout;
  const Material& m = state.material;
  for_elements(work, AddConstantElement{x.data(), m.designated ? constant : 0, out.data()},
               out.size(), stream);
  const StreamPieces words{reinterpret_cast<std::uint8_t*>(out.data()),
                           out.size_bytes(),
                           layout.blocks(state.count),
                           layout.word_array_bytes(),
                           layout.mask_record_bytes(),
                           layout.word_array_bytes()};
  const std::uint64_t offset = state.first_block * layout.mask_record_bytes();
  run_stream(work, {m.seed, m.prg, m.mask_stream, offset}, StreamUse::kAdd, words, stream);
}

void compare_leaves(Work& work, const CompareState& state, Words out, cudaStream_t stream) {
  const CompareLayout& layout = *state.layout;
  Player player(work, state, mask_planes(layout), {0, layout.products_offset()}, stream);
  player.for_each_chunk([&](const CompareJob& job, RecordPieces masks, RecordPieces tables) {
    constexpr unsigned kThreads = 64;
    work.run("compare: leaves", layout.wide ? &compare_wide_leaves_kernel : &compare_leaves_kernel,
             half_lanes(job, kThreads, kThreads / 32 * kWarpPlanesBytes), stream, job,
             state.opened.data(), masks, tables, halves(out));
  });
}

void compare_nodes(Work& work, const CompareState& state, ConstWords leaf, Words out,
                   cudaStream_t stream) {
  const CompareLayout& layout = *state.layout;
  const Range products{layout.products_offset(), layout.top_plane_offset()};
  Player player(work, state, mask_planes(layout), products, stream);
  player.for_each_chunk([&](const CompareJob& job, RecordPieces masks, RecordPieces product) {
    if (layout.wide) {
      work.run("compare: nodes", &compare_wide_nodes_kernel, half_lanes(job, 128, 0), stream, job,
               halves(leaf), masks, product);
      return;
    }
    work.run("compare: nodes", &compare_nodes_kernel, half_lanes(job, 128, 0), stream, job,
             halves(leaf), masks, product, halves(out));
  });
}

void compare_root(Work& work, const CompareState& state, ConstWords root, Words out,
                  cudaStream_t stream) {
  const CompareLayout& layout = *state.layout;
  const Range products{layout.products_offset(), layout.packed_offset()};
  Player player(work, state, mask_planes(layout), products, stream);
  player.for_each_chunk([&](const CompareJob& job, RecordPieces masks, RecordPieces product) {
    work.run("compare: root", &compare_root_kernel, half_lanes(job, 128, 0), stream, job,
             halves(root), masks, product, layout.product_planes, halves(out));
  });
}

void compare_finish(Work& work, const CompareState& state, ConstWords final, ConstWords x,
                    const BitShare& forward, Words out, Words b, cudaStream_t stream) {
  const CompareLayout& layout = *state.layout;
  const Range words{layout.packed_offset(), layout.correction_record_bytes()};
  Player player(work, state, {}, words, stream);
  player.for_each_chunk([&](const CompareJob& job, RecordPieces, RecordPieces material) {
    FinishJob finish;
    finish.opened = state.opened.data();
    finish.final_bits = final.data();
    finish.forward_delta = forward.delta.empty() ? nullptr : forward.delta.data();
    finish.forward_b = forward.b.empty() ? nullptr : forward.b.data();
    finish.x = x.data();
    finish.delta = state.delta.data();
    finish.out = out.data();
    finish.b_out = b.empty() ? nullptr : b.data();
    finish.material = material;
    work.run("compare: finish", &compare_finish_kernel, {dim3(job.blocks * 4), dim3(128), 0},
             stream, job, finish);
  });
}

void bit_to_word(Work& work, const BitShare& bit, bool designated, Words out, cudaStream_t stream) {
  for_elements(work,
               BitToWordElement{bit.delta.data(), bit.b.data(), designated ? 1u : 0u, out.data()},
               out.size(), stream);
}

}  // namespace beaverpond::cuda
