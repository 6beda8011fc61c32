// One comparison, truncation or ReLU in flight: which round comes next, and what it sends.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "online/protocol/compare_stage.h"

namespace beaverpond {

/// Progress of one comparison operation, in pieces that each go through the rounds by themselves.
/// Its memory is given once, or allocated, and reused by every run. Not copyable, since
/// CompareState points at its layout.
class CompareTask {
 public:
  CompareTask(const CompareLayout& layout, std::uint64_t count, std::uint64_t constant)
      : CompareTask(layout, count, constant, PieceCut{1, count}) {}
  CompareTask(const CompareLayout& layout, std::uint64_t count, std::uint64_t constant,
              const PieceCut& cut);
  CompareTask(const CompareTask&) = delete;             // its pieces point at its layout
  CompareTask& operator=(const CompareTask&) = delete;  // its pieces point at its layout

  /// The caller's memory: `opened` and `kept` are the task's while it is in flight, `delta` and `b`
  /// (of a layout with a sign) from then on as long as bit() is read.
  void use(Words opened, Words kept, Words delta, Words b);
  /// Instead: its own.
  Result<void> allocate(Backend& backend);

  /// Starts a run. `x` is the input's share, `out` receives the result's. `forward` is the earlier
  /// bit, where the use takes one.
  void start(const Material& material, ConstWords x, const BitShare& forward, Words out);

  std::size_t pieces() const { return pieces_.size(); }
  /// What a piece's next round sends: words to be summed, plane words to be XORed. 0, 0 when done.
  std::uint64_t round_words(std::size_t piece = 0) const {
    return stage_words(pieces_[piece].stage, pieces_[piece].state.count);
  }
  std::uint64_t round_planes(std::size_t piece = 0) const {
    return stage_plane_words(layout_, pieces_[piece].stage, pieces_[piece].state.count);
  }
  void write(Backend& backend, Words words, Words planes, StreamRef stream, std::size_t piece = 0);
  /// Takes the opened round in; `planes` must stay valid through the piece's next write().
  void read(Backend& backend, ConstWords words, ConstWords planes, StreamRef stream,
            std::size_t piece = 0);
  bool piece_done(std::size_t piece) const { return pieces_[piece].stage == Stage::kDone; }
  bool done() const { return pieces_left_ == 0; }

  /// The bit this operation made. Valid once done.
  BitShare bit() const { return {delta_, b_}; }

 private:
  using Stage = CompareStage;
  struct Piece {
    std::uint64_t first = 0;  ///< element
    CompareState state;
    ConstWords x;
    BitShare forward;
    Words out;
    Words b;
    ConstWords last_planes;
    Stage stage = Stage::kDone;
  };
  void finish(Backend& backend, Piece& piece, ConstWords final, StreamRef stream);

  CompareLayout layout_;
  std::uint64_t count_;
  std::uint64_t constant_;
  Words opened_;
  Words kept_;
  Words delta_;
  Words b_;
  Buffer own_[4];

  std::vector<Piece> pieces_;
  std::size_t pieces_left_ = 0;
};

}  // namespace beaverpond
