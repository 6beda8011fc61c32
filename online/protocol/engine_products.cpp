#include <algorithm>

#include "online/protocol/engine_impl.h"

namespace beaverpond {

/// Products wait until both masks are open; those nobody waits for are put off.
bool EngineImpl::start_product(std::uint32_t index, const Op& op) {
  for (const ValueId input : op.inputs) send_mask(values_[input], index);
  if (!masks_open(op)) return false;
  if (memory_.deferred[index]) {
    deferred_.push_back(index);
  } else {
    ++tick_;
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
  slot.words_closed = slot.share.size();
  const PieceCut cut = piece_cut(slot.share.size());
  InFlight flight;
  flight.opening = &slot;
  flight.op = op;
  for (std::uint64_t i = 0; i < cut.pieces; ++i) {
    flight.first = i * cut.piece_elements;
    flight.mask_words = std::min(cut.piece_elements, slot.share.size() - flight.first);
    (cut.pieces == 1 ? main_ : new_strand()).flights.push_back(flight);
  }
}

void EngineImpl::run_one_deferred() {
  if (deferred_.empty()) return;
  const std::uint32_t index = deferred_.back();
  deferred_.pop_back();
  compute_product(index, program_.ops[index]);
}

void EngineImpl::compute_product(std::uint32_t index, const Op& op) {
  passes(index);
  const OpTimer timer(*this, index);
  multiply_open(backend_, program_, op, material(entry_of_op_[index]), values_);
  values_[op.out].ready = true;
}

}  // namespace beaverpond
