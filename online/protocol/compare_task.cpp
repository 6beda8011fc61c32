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

void CompareTask::finish(Backend& backend, ConstWords final, StreamRef stream) {
  backend.compare_finish(state_, final, x_, forward_, out_, b_.words(), stream);
  stage_ = Stage::kDone;
}

void CompareTask::read(Backend& backend, ConstWords words, ConstWords planes, StreamRef stream) {
  if (stage_ == Stage::kDone) return;
  const bool opened = stage_ == Stage::kOpen;
  if (opened) backend.copy(words, opened_.words(), stream);
  stage_ = after_stage(layout_, stage_);
  if (stage_ == Stage::kDone) return finish(backend, opened ? ConstWords() : planes, stream);
  if (!opened) last_planes_ = planes;
}

}  // namespace beaverpond
