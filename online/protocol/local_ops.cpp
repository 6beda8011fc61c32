#include "online/protocol/local_ops.h"

namespace beaverpond {
namespace {

bool run_arithmetic(Backend& backend, const Op& op, ValueStore& values, bool designated) {
  const auto share = [&values, &op](std::size_t i) -> ConstWords {
    return values[op.inputs[i]].share;
  };
  const Words out = values[op.out].share;
  switch (op.code) {
    case OpCode::kAdd: backend.add(share(0), share(1), out, kHostStream); return true;
    case OpCode::kSubtract: backend.subtract(share(0), share(1), out, kHostStream); return true;
    case OpCode::kAddRow: backend.add_row(share(0), share(1), out, kHostStream); return true;
    case OpCode::kSumRows: backend.sum_rows(share(0), out, kHostStream); return true;
    case OpCode::kShiftLeft:
      backend.shift_left(share(0), static_cast<int>(op.shift), out, kHostStream);
      return true;
    case OpCode::kAddPublic:
      backend.add_public(share(0), op.words, designated, out, kHostStream);
      return true;
    case OpCode::kMultiplyPublic:
      backend.multiply_public(share(0), op.words, out, kHostStream);
      return true;
    default: return false;
  }
}

}  // namespace

void run_local_op(Backend& backend, const Program& program, const Op& op, ValueStore& values,
                  bool designated) {
  if (run_arithmetic(backend, op, values, designated)) return;
  const Shape& shape = program.value(op.inputs[0]).shape;
  const ConstWords x = values[op.inputs[0]].share;
  const Words out = values[op.out].share;
  const std::uint64_t row_words = x.size() / shape[0];
  switch (op.code) {
    case OpCode::kConcatRows: {
      std::size_t at = 0;
      for (const ValueId input : op.inputs) {
        const ConstWords part = values[input].share;
        backend.copy(part, out.subspan(at, part.size()), kHostStream);
        at += part.size();
      }
      return;
    }
    case OpCode::kRows: backend.rows(row_words, op.begin, op.step, x, out, kHostStream); return;
    case OpCode::kSpreadRows:
      backend.spread_rows(row_words, op.begin, op.step, x, out, kHostStream);
      return;
    case OpCode::kTranspose: backend.transpose(shape[0], shape[1], x, out, kHostStream); return;
    case OpCode::kWindow: backend.window(op.pool, x, out, kHostStream); return;
    case OpCode::kWindowGrad: backend.window_grad(op.pool, x, out, kHostStream); return;
    default: BP_CHECK(false, "not a local operation");
  }
}

}  // namespace beaverpond
