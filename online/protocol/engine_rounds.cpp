#include <algorithm>
#include <bit>
#include <set>

#include "online/protocol/engine_impl.h"

namespace beaverpond {
namespace {

int table_bits(const Op& op) {
  return std::countr_zero(op.words.size());
}

}  // namespace

Result<RoundMemory*> EngineImpl::lay_out_round(std::uint64_t& words, std::uint64_t& planes) {
  words = planes = 0;
  for (InFlight& flight : in_flight_) {
    if (flight.task != nullptr) {
      flight.words = flight.task->round_words();
      flight.planes = flight.task->round_planes();
    } else {
      flight.words = flight.opening != nullptr ? flight.opening->share.size()
                                               : values_[program_.ops[flight.op].out].share.size();
    }
    flight.words_at = words;
    flight.planes_at = planes;
    words += flight.words;
    planes += flight.planes;
  }
  RoundMemory& memory = round_memory_[round_++ % 2];
  const auto grow = [this](Buffer& buffer, std::uint64_t count, bool host) -> Result<void> {
    if (buffer.words().size() >= count) return {};
    const ByteCount size = bytes_of_words(ElementCount{count + count / 4});
    BP_ASSIGN(buffer, host ? backend_.allocate_host(size) : backend_.allocate(size));
    return {};
  };
  BP_TRY(grow(memory.words, words, false));
  BP_TRY(grow(memory.planes, planes, false));
  if (!staged_) return &memory;
  BP_TRY(grow(memory.host_words, words, true));
  BP_TRY(grow(memory.host_planes, planes, true));
  return &memory;
}

void EngineImpl::write_round(const RoundMemory& memory) {
  for (const InFlight& flight : in_flight_) {
    const OpTimer timer(*this, flight.op);
    const Words words = memory.words.words().subspan(flight.words_at, flight.words);
    const Words planes = memory.planes.words().subspan(flight.planes_at, flight.planes);
    if (flight.task != nullptr) {
      flight.task->write(backend_, words, planes, kHostStream);
      continue;
    }
    if (flight.opening == nullptr) {
      const Op& op = program_.ops[flight.op];
      backend_.lookup_open(material(static_cast<std::uint32_t>(entry_of_op_[flight.op])),
                           table_bits(op), values_[op.inputs[0]].share, words, kHostStream);
      continue;
    }
    ValueSlot& slot = *flight.opening;
    backend_.prg_fill(bundle_.seed(), plan_.prg,
                      plan_.mask_stream(static_cast<std::uint32_t>(slot.mask_entry), member_), 0,
                      slot.mask.bytes(), kHostStream);
    backend_.subtract(slot.share, slot.mask.words(), words, kHostStream);
  }
}

void EngineImpl::finish_mask(ValueSlot& slot, ConstWords opened) {
  backend_.copy(opened, slot.opened.words(), kHostStream);
  if (designated() && slot.second_factor) {
    backend_.add(slot.mask.words(), opened, slot.shifted.words(), kHostStream);
  }
  slot.mask_open = true;
}

void EngineImpl::read_round(const RoundMemory& memory) {
  still_.clear();
  for (const InFlight& flight : in_flight_) {
    const OpTimer timer(*this, flight.op);
    const ConstWords words = memory.words.words().subspan(flight.words_at, flight.words);
    const ConstWords planes = memory.planes.words().subspan(flight.planes_at, flight.planes);
    if (flight.opening != nullptr) {
      finish_mask(*flight.opening, words);
      continue;
    }
    const Op& op = program_.ops[flight.op];
    if (flight.task == nullptr) {
      backend_.lookup_finish(material(static_cast<std::uint32_t>(entry_of_op_[flight.op])),
                             table_bits(op), words, values_[op.out].share, kHostStream);
      values_[op.out].ready = true;
      continue;
    }
    flight.task->read(backend_, words, planes, kHostStream);
    if (!flight.task->done()) {
      still_.push_back(flight);
      continue;
    }
    values_[op.out].ready = true;
    if (op.bit != kNoValue) values_[op.bit].ready = true;
  }
  std::swap(in_flight_, still_);
}

/// In parts that every transport takes as one message.
void EngineImpl::start_reduce(Words words, ReduceOp op, std::vector<Operation>& pending) {
  const std::size_t part_words = opening_part_words(words.size());
  for (std::size_t at = 0; at < words.size(); at += part_words) {
    const Words part = words.subspan(at, std::min(part_words, words.size() - at));
    pending.push_back(transport_.start_all_reduce(part, op, next_tag(), kHostStream));
  }
}

Result<void> EngineImpl::wait_all(std::vector<Operation>& pending) {
  const ScopedTimer timer = profiler_.time_exchange();
  const Deadline until = deadline();
  Result<void> outcome;
  for (Operation& operation : pending) {
    Result<void> result = operation.wait(until);
    if (outcome.ok() && !result.ok()) outcome = std::move(result);
  }
  return outcome;
}

Result<void> EngineImpl::start_exchange(RoundMemory& memory, std::uint64_t words,
                                        std::uint64_t planes, std::vector<Operation>& pending) {
  Words sums = memory.words.words().first(words);
  Words bits = memory.planes.words().first(planes);
  if (staged_) {
    const Words host_sums = memory.host_words.words().first(words);
    const Words host_bits = memory.host_planes.words().first(planes);
    backend_.download(bytes_of(sums), bytes_of(host_sums), kHostStream);
    backend_.download(bytes_of(bits), bytes_of(host_bits), kHostStream);
    sums = host_sums;
    bits = host_bits;
  }
  BP_TRY(settle());
  const ScopedTimer timer = profiler_.time_exchange();
  start_reduce(sums, ReduceOp::kSum, pending);
  start_reduce(bits, ReduceOp::kXor, pending);
  return {};
}

Result<void> EngineImpl::exchange_round() {
  std::uint64_t words = 0;
  std::uint64_t planes = 0;
  BP_ASSIGN(RoundMemory * memory, lay_out_round(words, planes));
  write_round(*memory);
  std::vector<Operation>& pending = pending_;
  BP_TRY(start_exchange(*memory, words, planes, pending));
  run_one_deferred();
  const Result<void> outcome = wait_all(pending);
  pending.clear();
  if (!outcome.ok()) return in_progress(outcome.error());
  ++stats_.rounds;
  stats_.opened_words += words;
  stats_.opened_plane_words += planes;
  profiler_.count_round(in_flight_, words, planes);
  if (staged_) {
    backend_.upload(memory->host_words.bytes().first(words * 8),
                    memory->words.bytes().first(words * 8), kHostStream);
    backend_.upload(memory->host_planes.bytes().first(planes * 8),
                    memory->planes.bytes().first(planes * 8), kHostStream);
  }
  read_round(*memory);
  return {};
}

Error EngineImpl::in_progress(Error error) const {
  std::vector<std::uint32_t> ops;
  for (const InFlight& flight : in_flight_) ops.push_back(flight.op);
  return in_operations(std::move(error), ops);
}

Error EngineImpl::in_operations(Error error, const std::vector<std::uint32_t>& ops) const {
  std::set<std::string> names;
  for (const std::uint32_t index : ops) {
    const Op& op = program_.ops[index];
    names.insert(op.layer + " " + to_string(op.code));
  }
  for (const std::string& name : names) {
    error.operation += (error.operation.empty() ? "" : ", ") + name;
  }
  error.epoch = options_.epoch;
  return error;
}

Result<std::vector<std::uint64_t>> EngineImpl::reveal(ConstWords share, std::uint64_t receivers,
                                                      std::uint64_t serial, const Tag& tag) {
  BP_ASSIGN(const ConstWords masked, sharing_.mask(backend_, share, serial));
  BP_TRY(settle());
  return sharing_.reveal(masked, receivers, tag, deadline());
}

Result<void> EngineImpl::reveal_all() {
  bool any = false;
  for (std::uint32_t index = 0; index < program_.ops.size(); ++index) {
    const Op& op = program_.ops[index];
    if (op.code != OpCode::kReveal) continue;
    any = true;
    const ScopedTimer timer = profiler_.time_exchange();
    computing_.push_back(index);
    Result<std::vector<std::uint64_t>> words =
        reveal(values_[op.inputs[0]].share, op.receivers,
               Sharing::run_serial(run_number(), program_.reveals, op.slot), next_tag());
    if (!words.ok()) {
      Error error = std::move(words).error();
      return error.operation.empty() ? in_operations(std::move(error), {index}) : error;
    }
    revealed_[op.slot] = std::move(words).value();
    profiler_.count_reveal(index, values_[op.inputs[0]].share.size());
  }
  if (any) {
    ++stats_.rounds;
    profiler_.end_round();
  }
  return {};
}

Result<std::vector<std::uint64_t>> EngineImpl::reveal_state(std::uint32_t slot,
                                                            std::uint64_t receivers,
                                                            std::uint32_t serial) {
  BP_CHECK(state_serials_.insert(serial).second, "reveal_state: a serial is used twice");
  // Bundle number 2^64 - 1 never exists, so these tags meet no other.
  const Tag tag{options_.session, ~std::uint64_t{0}, options_.lane, serial};
  return reveal(values_.state(slot), receivers, Sharing::state_serial(serial), tag);
}

}  // namespace beaverpond
