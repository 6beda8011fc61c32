#include "online/protocol/profiler.h"

#include "online/protocol/engine_impl.h"

namespace beaverpond {

Profiler::Profiler(bool enabled, const Program& program, const Transport& transport)
    : enabled_(enabled), program_(program), transport_(transport) {
  if (!enabled_) return;
  layers_ = program_layers(program);
  profile_.ops.resize(program.ops.size());
  profile_.layer_rounds.resize(layers_.names.size());
  last_round_of_op_.resize(program.ops.size());
  last_round_of_layer_.resize(layers_.names.size());
}

void Profiler::take_part(std::uint32_t op) {
  if (last_round_of_op_[op] != round_) ++profile_.ops[op].traffic.rounds;
  last_round_of_op_[op] = round_;
  const std::uint32_t layer = layers_.of_op[op];
  if (last_round_of_layer_[layer] != round_) ++profile_.layer_rounds[layer];
  last_round_of_layer_[layer] = round_;
}

void Profiler::count_strand(const std::vector<InFlight>& in_flight, std::uint64_t words,
                            std::uint64_t planes) {
  if (!enabled_) return;
  for (const InFlight& flight : in_flight) {
    take_part(flight.op);
    OpTraffic& traffic = profile_.ops[flight.op].traffic;
    traffic.opened_words += flight.words;
    traffic.opened_plane_words += flight.planes;
    if (is_large_opening(words)) traffic.large_words += flight.words;
    if (is_large_opening(planes)) traffic.large_words += flight.planes;
  }
  for (const std::uint64_t opened : {words, planes}) {
    profile_.sent_bytes += opening_sent_bytes(opened, transport_.size(), transport_.rank());
  }
}

void Profiler::count_reveal(std::uint32_t op, std::uint64_t words) {
  if (!enabled_) return;
  take_part(op);
  profile_.ops[op].traffic.revealed_words += words;
  profile_.sent_bytes +=
      message_sent_bytes(words * 8) * static_cast<std::uint64_t>(receivers_besides(
                                          program_.ops[op], transport_.size(), transport_.rank()));
}

}  // namespace beaverpond
