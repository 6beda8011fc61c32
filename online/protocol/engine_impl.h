// The engine's class, private to this folder: engine.cpp schedules, engine_products.cpp computes,
// engine_rounds.cpp exchanges.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "online/protocol/compare_task.h"
#include "online/protocol/engine.h"
#include "online/protocol/products.h"
#include "online/protocol/profiler.h"
#include "online/protocol/sharing.h"
#include "online/protocol/value_store.h"

namespace beaverpond {

/// A piece of a mask opening, a piece of a comparison or a lookup (neither of the two) that takes
/// part in the current round.
struct InFlight {
  ValueSlot* opening = nullptr;
  CompareTask* task = nullptr;
  std::size_t piece = 0;         ///< of the task
  std::uint64_t first = 0;       ///< of the mask: where its piece begins
  std::uint64_t mask_words = 0;  ///< and how long it is
  std::uint32_t op = 0;
  std::uint64_t words_at = 0;
  std::uint64_t words = 0;
  std::uint64_t planes_at = 0;
  std::uint64_t planes = 0;
};

/// Send and receive memory of one round of a strand; two of them alternate, since the planes of the
/// last round are read while the next is written.
struct RoundMemory {
  Buffer words;
  Buffer planes;
  Buffer host_words;  ///< what travels, where the transport takes other memory than the backend's
  Buffer host_planes;
};

/// Openings that travel together, round after round. All small ones are one strand, the main one;
/// each piece of a large one is a strand of its own, so that it computes while the others'
/// words travel.
struct Strand {
  std::vector<InFlight> flights;  ///< empty: not in use
  std::vector<Operation> pending;
  std::uint64_t words = 0;   ///< in flight
  std::uint64_t planes = 0;  ///< likewise
  /// Which memory is next. Goes on over all uses: the last round of the use before may still be
  /// read, and another use begins with the other memory.
  std::uint64_t round = 0;
  RoundMemory memory[2];

  RoundMemory& last_memory() { return memory[(round + 1) % 2]; }
  bool sent() const { return !pending.empty(); }
};

class EngineImpl final : public Engine {
 public:
  EngineImpl(const Program& program, const Plan& plan, Backend& backend, Transport& transport,
             PairKeys keys, const EngineOptions& options, MemoryPlan memory, ValueStore values)
      : program_(program),
        plan_(plan),
        backend_(backend),
        transport_(transport),
        sharing_(transport, std::move(keys)),
        options_(options),
        staged_(backend.memory() != transport.memory()),
        memory_(std::move(memory)),
        values_(std::move(values)),
        profiler_(options.profile, program, transport) {}

  void prepare();
  Result<void> run(Bundle bundle, const RunInputs& inputs) override;
  Result<void> run_next(const RunInputs& inputs) override;
  std::uint32_t members_left() const override {
    return bundle_.empty() ? 0 : plan_.members - 1 - member_;
  }
  Result<std::vector<std::uint64_t>> state_share(std::uint32_t slot) override;
  Result<void> set_public_state(std::uint32_t slot, ConstWords words) override;
  Result<void> set_state_share(std::uint32_t slot, ConstWords share) override;
  ConstWords revealed(std::uint32_t slot) const override { return revealed_[slot]; }
  Result<std::vector<std::uint64_t>> reveal_state(std::uint32_t slot, std::uint64_t receivers,
                                                  std::uint32_t serial) override;
  const EngineStats& stats() const override { return stats_; }
  const EngineProfile& profile() const override { return profiler_.profile(); }

 private:
  /// Times an operation's computing, and remembers that the backend has work of it.
  class OpTimer {
   public:
    OpTimer(EngineImpl& engine, std::uint32_t op)
        : engine_(engine), timer_(engine.profiler_.time(op)) {
      engine.computing_.push_back(op);
    }
    ~OpTimer() {
      // A device would still be at work; settle() keeps its error.
      if (engine_.options_.profile) (void)engine_.settle();
    }
    OpTimer(const OpTimer&) = delete;             // one end
    OpTimer& operator=(const OpTimer&) = delete;  // one end

   private:
    EngineImpl& engine_;
    ScopedTimer timer_;
  };

  bool designated() const { return bundle_.designated() == transport_.rank(); }
  Deadline deadline() const {
    return std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.round_timeout_ms);
  }
  /// Counts the runs of all bundles: what must be new for each takes it.
  std::uint64_t run_number() const { return bundle_.number() * plan_.members + member_; }
  Tag next_tag() { return {options_.session, bundle_.number(), options_.lane, operation_++}; }
  Material material(std::uint32_t entry) const {
    return entry_material(plan_, bundle_, entry, member_, designated());
  }
  Result<void> check_bundle(const Bundle& bundle) const;

  Result<void> run_member(const RunInputs& inputs);
  Result<void> execute(const RunInputs& inputs);
  void advance(const RunInputs& inputs);
  bool start_op(std::uint32_t index, const RunInputs& inputs);
  bool start_product(std::uint32_t index, const Op& op);
  bool start_compare(std::uint32_t index, const Op& op);
  bool start_lookup(std::uint32_t index);
  void run_local(std::uint32_t index, const Op& op, const RunInputs& inputs);
  bool masks_open(const Op& op);
  void send_mask(ValueSlot& slot, std::uint32_t op);
  void compute_product(std::uint32_t index, const Op& op);
  void run_one_deferred();

  bool idle() const { return main_.flights.empty() && strands_in_use_.empty(); }
  Strand& new_strand();
  Result<void> exchange_round();
  Result<void> exchange_strands();
  void abandon_all();
  Result<void> send(Strand& strand);
  Result<void> receive(Strand& strand);
  Result<void> wait_all(Strand& strand);
  void start_reduce(Words words, ReduceOp op, std::vector<Operation>& pending);
  Result<void> lay_out(Strand& strand);
  void write(const Strand& strand, const RoundMemory& memory);
  void read(Strand& strand, const RoundMemory& memory);
  void finish_mask(const InFlight& flight, ConstWords opened);
  Result<void> start_exchange(Strand& strand, RoundMemory& memory);
  Error in_progress(Error error) const;
  Error in_operations(Error error, const std::vector<std::uint32_t>& ops) const;
  Result<void> settle();

  void apply_updates(const RunInputs& inputs);
  Result<std::vector<std::uint64_t>> reveal(ConstWords share, std::uint64_t receivers,
                                            std::uint64_t serial, const Tag& tag);
  Result<void> reveal_all();
  void passes(std::uint32_t op) const;

  const Program& program_;
  const Plan& plan_;
  Backend& backend_;
  Transport& transport_;
  Sharing sharing_;
  EngineOptions options_;
  bool staged_;  ///< what travels is copied through the host
  MemoryPlan memory_;
  ValueStore values_;
  EngineStats stats_;
  Profiler profiler_;

  std::vector<std::uint32_t> entry_of_op_;
  std::vector<std::unique_ptr<CompareTask>> tasks_;  ///< by operation
  std::vector<CompareTask*> task_of_bit_;            ///< by value
  std::vector<bool> op_started_;
  std::vector<std::uint32_t> deferred_;
  // Vectors are members so that a step after the first allocates nothing.
  Strand main_;
  std::vector<std::unique_ptr<Strand>> strands_;  ///< all there ever were
  std::vector<Strand*> strands_in_use_;           ///< in the order in which they began
  std::vector<InFlight> still_;                   ///< of one round: what another follows
  std::vector<std::vector<std::uint64_t>> revealed_;

  std::set<std::uint32_t> state_serials_;  ///< that reveal_state used up
  std::vector<bool> fixed_;                ///< by value: kept through all members of a series
  Bundle bundle_;
  std::uint32_t member_ = 0;
  std::optional<std::uint64_t> last_bundle_;
  bool failed_ = false;
  std::vector<std::uint32_t> computing_;  ///< operations given to the backend since settle()
  Result<void> backend_outcome_;          ///< its first failure
  std::uint32_t operation_ = 0;
  std::uint32_t tick_ = 0;  ///< of the run, as in RunTicks
};

}  // namespace beaverpond
