#include "online/protocol/compare_task.h"

namespace beaverpond {

Result<void> CompareTask::allocate(Backend& backend) {
  const ByteCount words = bytes_of_words(ElementCount{count_});
  BP_ASSIGN(opened_, backend.allocate(words));
  BP_ASSIGN(kept_,
            backend.allocate(bytes_of_words(ElementCount{compare_kept_words(layout_, count_)})));
  if (layout_.wants_sign) {
    BP_ASSIGN(delta_, backend.allocate(bytes_of_words(ElementCount{packed_words(1, count_)})));
    BP_ASSIGN(b_, backend.allocate(words));
  }
  return {};
}

void CompareTask::start(const Material& material, ConstWords x, const BitShare& forward,
                        Words out) {
  state_.layout = &layout_;
  state_.count = count_;
  state_.material = material;
  state_.opened = opened_.words();
  state_.kept = kept_.words();
  state_.delta = delta_.words();
  x_ = x;
  forward_ = forward;
  out_ = out;
  last_planes_ = {};
  stage_ = Stage::kOpen;
}

std::uint64_t CompareTask::round_words() const {
  return stage_ == Stage::kOpen ? count_ : 0;
}

std::uint64_t CompareTask::round_planes() const {
  int planes = 0;
  if (stage_ == Stage::kLeaf) planes = layout_.leaf_wires;
  if (stage_ == Stage::kRoot) planes = layout_.root.wires();
  if (stage_ == Stage::kFinal) planes = layout_.final_bits;
  return packed_words(static_cast<std::uint64_t>(planes), count_);
}

void CompareTask::write(Backend& backend, Words words, Words planes, StreamRef stream) {
  const bool had_leaf_round = layout_.leaf_wires > 0;
  switch (stage_) {
    case Stage::kOpen: backend.compare_open(state_, x_, constant_, words, stream); return;
    case Stage::kLeaf: backend.compare_leaves(state_, planes, stream); return;
    case Stage::kRoot:
      if (!had_leaf_round) backend.compare_leaves(state_, {}, stream);
      backend.compare_nodes(state_, last_planes_, planes, stream);
      return;
    case Stage::kFinal:
      if (!layout_.has_root) {
        if (!had_leaf_round) backend.compare_leaves(state_, {}, stream);
        backend.compare_nodes(state_, last_planes_, {}, stream);
      }
      backend.compare_root(state_, layout_.has_root ? last_planes_ : ConstWords(), planes, stream);
      return;
    case Stage::kDone: return;
  }
}

CompareTask::Stage CompareTask::after_open() const {
  if (layout_.nodes == 0) return Stage::kDone;
  if (layout_.leaf_wires > 0) return Stage::kLeaf;
  return layout_.has_root ? Stage::kRoot : Stage::kFinal;
}

void CompareTask::finish(Backend& backend, ConstWords final, StreamRef stream) {
  backend.compare_finish(state_, final, x_, forward_, out_, b_.words(), stream);
  stage_ = Stage::kDone;
}

void CompareTask::read(Backend& backend, ConstWords words, ConstWords planes, StreamRef stream) {
  switch (stage_) {
    case Stage::kOpen:
      backend.copy(words, opened_.words(), stream);
      stage_ = after_open();
      if (stage_ == Stage::kDone) finish(backend, {}, stream);
      return;
    case Stage::kLeaf: stage_ = layout_.has_root ? Stage::kRoot : Stage::kFinal; break;
    case Stage::kRoot: stage_ = Stage::kFinal; break;
    case Stage::kFinal: finish(backend, planes, stream); return;
    case Stage::kDone: return;
  }
  last_planes_ = planes;
}

}  // namespace beaverpond
