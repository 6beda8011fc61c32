// One comparison, truncation or ReLU in flight: which round comes next, and what it sends.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/backend.h"
#include "online/protocol/compare_stage.h"

namespace beaverpond {

/// Memory and progress of one comparison operation. Buffers are allocated once and reused by every
/// run. Not copyable, since CompareState points at its layout.
class CompareTask {
 public:
  CompareTask(const CompareLayout& layout, std::uint64_t count, std::uint64_t constant)
      : layout_(layout), count_(count), constant_(constant) {}
  CompareTask(const CompareTask&) = delete;
  CompareTask& operator=(const CompareTask&) = delete;

  Result<void> allocate(Backend& backend);

  /// Starts a run. `x` is the input's share, `out` receives the result's. `forward` is the earlier
  /// bit, where the use takes one.
  void start(const Material& material, ConstWords x, const BitShare& forward, Words out);

  /// What the next round sends: words to be summed, plane words to be XORed. 0, 0 when done.
  std::uint64_t round_words() const { return stage_words(stage_, count_); }
  std::uint64_t round_planes() const { return stage_plane_words(layout_, stage_, count_); }
  void write(Backend& backend, Words words, Words planes, StreamRef stream);
  /// Takes the opened round in; `planes` must stay valid through the next write().
  void read(Backend& backend, ConstWords words, ConstWords planes, StreamRef stream);
  bool done() const { return stage_ == Stage::kDone; }

  /// The bit this operation made. Valid once done.
  BitShare bit() const { return {delta_.words(), b_.words()}; }

 private:
  using Stage = CompareStage;
  void finish(Backend& backend, ConstWords final, StreamRef stream);

  CompareLayout layout_;
  std::uint64_t count_;
  std::uint64_t constant_;
  Buffer opened_;
  Buffer kept_;
  Buffer delta_;
  Buffer b_;

  CompareState state_;
  ConstWords x_;
  BitShare forward_;
  Words out_;
  ConstWords last_planes_;
  Stage stage_ = Stage::kDone;
};

}  // namespace beaverpond
