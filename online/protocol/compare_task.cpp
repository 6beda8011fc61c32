#include "online/protocol/compare_task.h"

#include <algorithm>

namespace beaverpond {
namespace {

/// The part of `words` that belongs to elements of `per_word` each; nothing of nothing.
template <class W>
W part_of(W words, std::uint64_t first, std::uint64_t count, std::uint64_t per_word = 1) {
  if (words.empty()) return {};
  return words.subspan(first / per_word, (count + per_word - 1) / per_word);
}

}  // namespace

CompareTask::CompareTask(const CompareLayout& layout, std::uint64_t count, std::uint64_t constant,
                         const PieceCut& cut)
    : layout_(layout), count_(count), constant_(constant), pieces_(cut.pieces) {
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    Piece& piece = pieces_[i];
    piece.first = i * cut.piece_elements;
    BP_CHECK(piece.first % layout_.block_elements() == 0 && (i == 0 || piece.first < count),
             "pieces are whole blocks");
    piece.state.count = std::min(cut.piece_elements, count - piece.first);
    piece.state.first_block = piece.first / layout_.block_elements();
  }
  BP_CHECK(pieces_.back().first + pieces_.back().state.count == count, "pieces are all");
}

void CompareTask::use(Words opened, Words kept, Words delta, Words b) {
  BP_CHECK(opened.size() == count_ && kept.size() == compare_kept_words(layout_, count_),
           "a comparison's memory fits it");
  opened_ = opened;
  kept_ = kept;
  delta_ = delta;
  b_ = b;
}

Result<void> CompareTask::allocate(Backend& backend) {
  const auto allocate = [&](Buffer& buffer, std::uint64_t words) -> Result<void> {
    BP_ASSIGN(buffer, backend.allocate(bytes_of_words(ElementCount{words})));
    return {};
  };
  BP_TRY(allocate(own_[0], count_));
  BP_TRY(allocate(own_[1], compare_kept_words(layout_, count_)));
  if (layout_.wants_sign) {
    BP_TRY(allocate(own_[2], packed_words(1, count_)));
    BP_TRY(allocate(own_[3], count_));
  }
  use(own_[0].words(), own_[1].words(), own_[2].words(), own_[3].words());
  return {};
}

void CompareTask::start(const Material& material, ConstWords x, const BitShare& forward,
                        Words out) {
  for (Piece& piece : pieces_) {
    const std::uint64_t count = piece.state.count;
    CompareState& state = piece.state;
    state.layout = &layout_;
    state.material = material;
    state.opened = part_of(opened_, piece.first, count);
    state.kept =
        kept_.subspan(compare_kept_words(layout_, piece.first), compare_kept_words(layout_, count));
    state.delta = part_of(delta_, piece.first, count, 64);
    piece.b = part_of(b_, piece.first, count);
    piece.x = part_of(x, piece.first, count);
    piece.forward = {part_of(forward.delta, piece.first, count, 64),
                     part_of(forward.b, piece.first, count)};
    piece.out = part_of(out, piece.first, count);
    piece.last_planes = {};
    piece.stage = Stage::kOpen;
  }
  pieces_left_ = pieces_.size();
}

void CompareTask::write(Backend& backend, Words words, Words planes, StreamRef stream,
                        std::size_t index) {
  Piece& piece = pieces_[index];
  const CompareState& state = piece.state;
  const bool had_leaf_round = layout_.leaf_wires > 0;
  switch (piece.stage) {
    case Stage::kOpen: backend.compare_open(state, piece.x, constant_, words, stream); return;
    case Stage::kLeaf: backend.compare_leaves(state, planes, stream); return;
    case Stage::kRoot:
      if (!had_leaf_round) backend.compare_leaves(state, {}, stream);
      backend.compare_nodes(state, piece.last_planes, planes, stream);
      return;
    case Stage::kFinal:
      if (!layout_.has_root) {
        if (!had_leaf_round) backend.compare_leaves(state, {}, stream);
        backend.compare_nodes(state, piece.last_planes, {}, stream);
      }
      backend.compare_root(state, layout_.has_root ? piece.last_planes : ConstWords(), planes,
                           stream);
      return;
    case Stage::kDone: return;
  }
}

void CompareTask::finish(Backend& backend, Piece& piece, ConstWords final, StreamRef stream) {
  backend.compare_finish(piece.state, final, piece.x, piece.forward, piece.out, piece.b, stream);
  piece.stage = Stage::kDone;
  --pieces_left_;
}

void CompareTask::read(Backend& backend, ConstWords words, ConstWords planes, StreamRef stream,
                       std::size_t index) {
  Piece& piece = pieces_[index];
  if (piece.stage == Stage::kDone) return;
  const bool opened = piece.stage == Stage::kOpen;
  if (opened) backend.copy(words, piece.state.opened, stream);
  piece.stage = after_stage(layout_, piece.stage);
  if (piece.stage == Stage::kDone) {
    return finish(backend, piece, opened ? ConstWords() : planes, stream);
  }
  if (!opened) piece.last_planes = planes;
}

}  // namespace beaverpond
