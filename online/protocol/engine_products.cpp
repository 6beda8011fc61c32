#include <algorithm>

#include "online/protocol/engine_impl.h"

namespace beaverpond {

/// Products wait until both masks are open; those nobody waits for are put off.
bool EngineImpl::start_product(std::uint32_t index, const Op& op) {
  for (const ValueId input : op.inputs) send_mask(values_[input], index);
  if (!masks_open(op)) return false;
  if (deferrable_[index]) {
    deferred_.push_back(index);
  } else {
    compute_product(index, op);
  }
  return true;
}

bool EngineImpl::masks_open(const Op& op) {
  return std::all_of(op.inputs.begin(), op.inputs.end(),
                     [this](ValueId id) { return values_[id].mask_open; });
}

void EngineImpl::send_mask(ValueSlot& slot, std::uint32_t op) {
  if (slot.mask_sent) return;
  slot.mask_sent = true;
  InFlight flight;
  flight.opening = &slot;
  flight.op = op;
  in_flight_.push_back(flight);
}

bool EngineImpl::run_one_deferred() {
  if (deferred_.empty()) return false;
  const std::uint32_t index = deferred_.back();
  deferred_.pop_back();
  compute_product(index, program_.ops[index]);
  return true;
}

/// [XY]_i = E (B_i + d_i F) + A_i F + C_i, with d_i = 1 on the designated player (Beaver 1991).
void EngineImpl::compute_product(std::uint32_t index, const Op& op) {
  const OpTimer timer(*this, index);
  const auto entry = static_cast<std::uint32_t>(entry_of_op_[index]);
  ValueSlot& x = values_[op.inputs[0]];
  ValueSlot& y = values_[op.inputs[1]];
  const Words out = values_[op.out].share;
  const Material m = material(entry);
  if (m.correction != nullptr) {
    backend_.upload({m.correction, out.size_bytes()}, bytes_of(out), kHostStream);
  } else {
    backend_.prg_fill(*m.seed, m.prg, m.correction_stream, 0, bytes_of(out), kHostStream);
  }
  add_products(op, {x.opened.words(), designated() ? y.shifted.words() : y.mask.words()},
               {x.mask.words(), y.opened.words()}, out);
  values_[op.out].ready = true;
}

void EngineImpl::add_products(const Op& op, const Backend::Factors& first,
                              const Backend::Factors& second, Words out) {
  const auto convolutions = [&](ConvKind kind) {
    backend_.add_conv2ds(kind, op.conv, first, second, out, kHostStream);
  };
  switch (op.code) {
    case OpCode::kMatMul: {
      const Shape& shape = program_.value(op.out).shape;
      const MatMulShape matmul{shape[0], shape[1], first.x.size() / shape[0], op.transpose_x,
                               op.transpose_y};
      backend_.add_matmuls(matmul, first, second, out, kHostStream);
      return;
    }
    case OpCode::kMultiply:
      backend_.multiply(first.x, first.y, out, true, kHostStream);
      backend_.multiply(second.x, second.y, out, true, kHostStream);
      return;
    case OpCode::kConv2d: return convolutions(ConvKind::kForward);
    case OpCode::kConv2dGradWeight: return convolutions(ConvKind::kGradWeight);
    case OpCode::kConv2dGradInput: return convolutions(ConvKind::kGradInput);
    default: BP_CHECK(false, "not a product");
  }
}

}  // namespace beaverpond
