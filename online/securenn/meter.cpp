#include "online/securenn/meter.h"

#include <algorithm>

namespace beaverpond::securenn {

Meter::Meter(bool enabled, const Program& program, const Link& link)
    : enabled_(enabled), link_(link) {
  if (!enabled_) return;
  layers_ = program_layers(program);
  profile_.ops.resize(program.ops.size());
  profile_.layer_rounds.resize(layers_.names.size());
  next_of_op_.resize(program.ops.size());
  next_of_layer_.resize(layers_.names.size());
}

void Meter::take_part(std::uint32_t op, std::uint64_t round) {
  if (next_of_op_[op] <= round) ++profile_.ops[op].traffic.rounds;
  next_of_op_[op] = round + 1;
  const std::uint32_t layer = layers_.of_op[op];
  if (next_of_layer_[layer] <= round) ++profile_.layer_rounds[layer];
  next_of_layer_[layer] = round + 1;
}

void Meter::part(std::uint32_t op, std::uint64_t bytes) {
  if (!enabled_) return;
  take_part(op, link_.rounds());
  profile_.ops[op].traffic.sent_bytes += bytes;
  others_bytes_ += bytes;
  others_rounds_.push_back(link_.rounds());
}

void Meter::begin(std::uint32_t op) {
  if (!enabled_) return;
  op_ = op;
  first_round_ = link_.rounds();
  first_byte_ = link_.sent_bytes();
  first_second_ = link_.seconds();
  others_bytes_ = 0;
  others_rounds_.clear();
  start_ = std::chrono::steady_clock::now();
}

void Meter::end() {
  if (!enabled_) return;
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
  OpProfile& op = profile_.ops[op_];
  op.seconds += passed.count() - (link_.seconds() - first_second_);
  op.traffic.sent_bytes += link_.sent_bytes() - first_byte_ - others_bytes_;
  for (std::uint64_t round = first_round_; round < link_.rounds(); ++round) {
    if (std::find(others_rounds_.begin(), others_rounds_.end(), round) == others_rounds_.end()) {
      take_part(op_, round);
    }
  }
}

}  // namespace beaverpond::securenn
