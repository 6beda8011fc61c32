// Operations that need no message.
#include "online/protocol/engine_impl.h"

namespace beaverpond {

void EngineImpl::run_local(std::uint32_t index, const Op& op, const RunInputs& inputs) {
  const OpTimer timer(*this, index);
  switch (op.code) {
    case OpCode::kInput:
      sharing_.share_input(backend_, static_cast<int>(op.owner),
                           run_number() * program_.inputs + op.slot, inputs.inputs[op.slot],
                           values_[op.out].share);
      return;
    case OpCode::kState:
    case OpCode::kReshape:  // a view
    case OpCode::kUpdate:   // applied when the whole run has succeeded
    case OpCode::kAssign:   // likewise
    case OpCode::kReveal:   // sent when all else is done
      return;
    case OpCode::kConcatRows:
    case OpCode::kRows:
    case OpCode::kSpreadRows:
    case OpCode::kTranspose:
    case OpCode::kWindow:
    case OpCode::kWindowGrad: run_layout(op); return;
    default: run_arithmetic(op); return;
  }
}

void EngineImpl::run_arithmetic(const Op& op) {
  const auto share = [this, &op](std::size_t i) -> ConstWords {
    return values_[op.inputs[i]].share;
  };
  const Words out = values_[op.out].share;
  switch (op.code) {
    case OpCode::kBitToWord:
      backend_.bit_to_word(task_of_bit_[op.inputs[0]]->bit(), designated(), out, kHostStream);
      return;
    case OpCode::kAdd: backend_.add(share(0), share(1), out, kHostStream); return;
    case OpCode::kSubtract: backend_.subtract(share(0), share(1), out, kHostStream); return;
    case OpCode::kAddRow: backend_.add_row(share(0), share(1), out, kHostStream); return;
    case OpCode::kSumRows: backend_.sum_rows(share(0), out, kHostStream); return;
    case OpCode::kShiftLeft:
      backend_.shift_left(share(0), static_cast<int>(op.shift), out, kHostStream);
      return;
    case OpCode::kAddPublic:
      backend_.add_public(share(0), op.words, designated(), out, kHostStream);
      return;
    case OpCode::kMultiplyPublic:
      backend_.multiply_public(share(0), op.words, out, kHostStream);
      return;
    default: BP_CHECK(false, "not a local operation");
  }
}

void EngineImpl::run_layout(const Op& op) {
  const Shape& shape = program_.value(op.inputs[0]).shape;
  const ConstWords x = values_[op.inputs[0]].share;
  const Words out = values_[op.out].share;
  const std::uint64_t row_words = x.size() / shape[0];
  switch (op.code) {
    case OpCode::kConcatRows: {
      std::size_t at = 0;
      for (const ValueId input : op.inputs) {
        const ConstWords part = values_[input].share;
        backend_.copy(part, out.subspan(at, part.size()), kHostStream);
        at += part.size();
      }
      return;
    }
    case OpCode::kRows: backend_.rows(row_words, op.begin, op.step, x, out, kHostStream); return;
    case OpCode::kSpreadRows:
      backend_.spread_rows(row_words, op.begin, op.step, x, out, kHostStream);
      return;
    case OpCode::kTranspose: backend_.transpose(shape[0], shape[1], x, out, kHostStream); return;
    case OpCode::kWindow: backend_.window(op.pool, x, out, kHostStream); return;
    case OpCode::kWindowGrad: backend_.window_grad(op.pool, x, out, kHostStream); return;
    default: BP_CHECK(false, "not a layout operation");
  }
}

}  // namespace beaverpond
