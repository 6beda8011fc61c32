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

/// One that is out of use, or another.
Strand& EngineImpl::new_strand() {
  const auto free = std::find_if(strands_.begin(), strands_.end(),
                                 [](const auto& strand) { return strand->flights.empty(); });
  Strand* strand = nullptr;
  if (free != strands_.end()) {
    strand = free->get();
  } else {
    strand = strands_.emplace_back(std::make_unique<Strand>()).get();
  }
  strands_in_use_.push_back(strand);
  return *strand;
}

Result<void> EngineImpl::lay_out(Strand& strand) {
  strand.words = strand.planes = 0;
  for (InFlight& flight : strand.flights) {
    if (flight.task != nullptr) {
      flight.words = flight.task->round_words(flight.piece);
      flight.planes = flight.task->round_planes(flight.piece);
    } else {
      flight.words = flight.opening != nullptr ? flight.mask_words
                                               : values_[program_.ops[flight.op].out].share.size();
      flight.planes = 0;
    }
    flight.words_at = strand.words;
    flight.planes_at = strand.planes;
    strand.words += flight.words;
    strand.planes += flight.planes;
  }
  RoundMemory& memory = strand.memory[strand.round++ % 2];
  const auto grow = [this](Buffer& buffer, std::uint64_t count, bool host) -> Result<void> {
    if (buffer.words().size() >= count) return {};
    const ByteCount size = bytes_of_words(ElementCount{count + count / 4});
    BP_ASSIGN(buffer, host ? backend_.allocate_host(size) : backend_.allocate(size));
    return {};
  };
  BP_TRY(grow(memory.words, strand.words, false));
  BP_TRY(grow(memory.planes, strand.planes, false));
  if (!staged_) return {};
  BP_TRY(grow(memory.host_words, strand.words, true));
  return grow(memory.host_planes, strand.planes, true);
}

void EngineImpl::write(const Strand& strand, const RoundMemory& memory) {
  for (const InFlight& flight : strand.flights) {
    const OpTimer timer(*this, flight.op);
    const Words words = memory.words.words().subspan(flight.words_at, flight.words);
    const Words planes = memory.planes.words().subspan(flight.planes_at, flight.planes);
    if (flight.task != nullptr) {
      flight.task->write(backend_, words, planes, kHostStream, flight.piece);
      continue;
    }
    if (flight.opening == nullptr) {
      const Op& op = program_.ops[flight.op];
      backend_.lookup_open(material(entry_of_op_[flight.op]), table_bits(op),
                           values_[op.inputs[0]].share, words, kHostStream);
      continue;
    }
    ValueSlot& slot = *flight.opening;
    const Words mask = slot.mask.words().subspan(flight.first, flight.words);
    backend_.prg_fill(bundle_.seed(), plan_.prg,
                      plan_.mask_stream(static_cast<std::uint32_t>(slot.mask_entry), member_),
                      flight.first * 8, bytes_of(mask), kHostStream);
    backend_.subtract(slot.share.subspan(flight.first, flight.words), mask, words, kHostStream);
  }
}

void EngineImpl::finish_mask(const InFlight& flight, ConstWords opened) {
  ValueSlot& slot = *flight.opening;
  const auto piece = [&flight](const StoredWords& buffer) {
    return buffer.words().subspan(flight.first, flight.words);
  };
  backend_.copy(opened, piece(slot.opened), kHostStream);
  if (designated() && slot.second_factor) {
    backend_.add(piece(slot.mask), opened, piece(slot.shifted), kHostStream);
  }
  slot.words_closed -= flight.words;
  slot.mask_open = slot.words_closed == 0;
}

/// Leaves in the strand what another round follows.
void EngineImpl::read(Strand& strand, const RoundMemory& memory) {
  still_.clear();
  for (const InFlight& flight : strand.flights) {
    const OpTimer timer(*this, flight.op);
    const ConstWords words = memory.words.words().subspan(flight.words_at, flight.words);
    const ConstWords planes = memory.planes.words().subspan(flight.planes_at, flight.planes);
    if (flight.opening != nullptr) {
      finish_mask(flight, words);
      continue;
    }
    const Op& op = program_.ops[flight.op];
    if (flight.task == nullptr) {
      backend_.lookup_finish(material(entry_of_op_[flight.op]), table_bits(op), words,
                             values_[op.out].share, kHostStream);
      passes(flight.op);
      values_[op.out].ready = true;
      continue;
    }
    flight.task->read(backend_, words, planes, kHostStream, flight.piece);
    if (!flight.task->piece_done(flight.piece)) still_.push_back(flight);
    if (!flight.task->done()) continue;
    passes(flight.op);
    values_[op.out].ready = true;
    if (op.bit != kNoValue) values_[op.bit].ready = true;
  }
  std::swap(strand.flights, still_);
}

/// In parts that every transport takes as one message.
void EngineImpl::start_reduce(Words words, ReduceOp op, std::vector<Operation>& pending) {
  const std::size_t part_words = opening_part_words(words.size());
  for (std::size_t at = 0; at < words.size(); at += part_words) {
    const Words part = words.subspan(at, std::min(part_words, words.size() - at));
    pending.push_back(transport_.start_all_reduce(part, op, next_tag(), kHostStream));
  }
}

Result<void> EngineImpl::wait_all(Strand& strand) {
  const ScopedTimer timer = profiler_.time_exchange();
  const Deadline until = deadline();
  Result<void> outcome;
  for (Operation& operation : strand.pending) {
    Result<void> result = operation.wait(until);
    if (outcome.ok() && !result.ok()) outcome = std::move(result);
  }
  return outcome;
}

Result<void> EngineImpl::start_exchange(Strand& strand, RoundMemory& memory) {
  Words sums = memory.words.words().first(strand.words);
  Words bits = memory.planes.words().first(strand.planes);
  if (staged_) {
    const Words host_sums = memory.host_words.words().first(strand.words);
    const Words host_bits = memory.host_planes.words().first(strand.planes);
    backend_.download(bytes_of(sums), bytes_of(host_sums), kHostStream);
    backend_.download(bytes_of(bits), bytes_of(host_bits), kHostStream);
    sums = host_sums;
    bits = host_bits;
  }
  BP_TRY(settle());
  const ScopedTimer timer = profiler_.time_exchange();
  start_reduce(sums, ReduceOp::kSum, strand.pending);
  start_reduce(bits, ReduceOp::kXor, strand.pending);
  return {};
}

/// Computes a strand's next messages and lets them go.
Result<void> EngineImpl::send(Strand& strand) {
  BP_TRY(lay_out(strand));
  write(strand, strand.last_memory());
  return start_exchange(strand, strand.last_memory());
}

/// Waits for a strand's messages and computes what follows from them.
Result<void> EngineImpl::receive(Strand& strand) {
  const Result<void> outcome = wait_all(strand);
  strand.pending.clear();
  if (!outcome.ok()) return in_progress(outcome.error());
  stats_.opened_words += strand.words;
  stats_.opened_plane_words += strand.planes;
  profiler_.count_strand(strand.flights, strand.words, strand.planes);
  const RoundMemory& memory = strand.last_memory();
  if (staged_) {
    backend_.upload(memory.host_words.bytes().first(strand.words * 8),
                    memory.words.bytes().first(strand.words * 8), kHostStream);
    backend_.upload(memory.host_planes.bytes().first(strand.planes * 8),
                    memory.planes.bytes().first(strand.planes * 8), kHostStream);
  }
  read(strand, memory);
  return {};
}

/// What has gone on from the round before is on its way already.
Result<void> EngineImpl::exchange_strands() {
  for (Strand* strand : strands_in_use_) {
    if (!strand->sent()) BP_TRY(send(*strand));
  }
  const bool main_too = !main_.flights.empty();
  if (main_too) BP_TRY(send(main_));
  run_one_deferred();
  for (Strand* strand : strands_in_use_) {
    BP_TRY(receive(*strand));
    if (!strand->flights.empty()) BP_TRY(send(*strand));  // while the next ones' words travel
  }
  return main_too ? receive(main_) : Result<void>();
}

Result<void> EngineImpl::exchange_round() {
  const Result<void> outcome = exchange_strands();
  if (!outcome.ok()) {
    abandon_all();
    return outcome;
  }
  std::erase_if(strands_in_use_, [](const Strand* strand) { return strand->flights.empty(); });
  ++stats_.rounds;
  profiler_.end_round();
  return {};
}

/// After a failure nobody waits any more for what the other strands have sent.
void EngineImpl::abandon_all() {
  const Deadline now = std::chrono::steady_clock::now();
  const auto abandon = [now](Strand& strand) {
    for (Operation& operation : strand.pending) (void)operation.wait(now);
    strand.pending.clear();
    strand.flights.clear();
  };
  for (Strand* strand : strands_in_use_) abandon(*strand);
  strands_in_use_.clear();
  abandon(main_);
}

Error EngineImpl::in_progress(Error error) const {
  std::vector<std::uint32_t> ops;
  for (const Strand* strand : strands_in_use_) {
    for (const InFlight& flight : strand->flights) ops.push_back(flight.op);
  }
  for (const InFlight& flight : main_.flights) ops.push_back(flight.op);
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
