// Operations that need no message.
#include "online/protocol/engine_impl.h"
#include "online/protocol/local_ops.h"

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
    case OpCode::kBitToWord:
      backend_.bit_to_word(task_of_bit_[op.inputs[0]]->bit(), designated(), values_[op.out].share,
                           kHostStream);
      return;
    default: run_local_op(backend_, program_, op, values_, designated()); return;
  }
}

}  // namespace beaverpond
