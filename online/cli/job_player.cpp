#include "online/cli/job_player.h"

#include <bit>
#include <string>
#include <vector>

#include "offline/plan/program_hash.h"
#include "online/protocol/cost.h"

namespace beaverpond {

namespace {

/// The public part of a table of the job, as text in which nothing is ambiguous: texts carry their
/// length, reals their bits.
class Encoded {
 public:
  Encoded& operator<<(std::uint64_t number) {
    text_ += std::to_string(number) + ' ';
    return *this;
  }
  Encoded& operator<<(const std::string& text) {
    text_ += std::to_string(text.size()) + ':' + text + ' ';
    return *this;
  }
  Encoded& operator<<(double real) { return *this << std::bit_cast<std::uint64_t>(real); }
  template <class Item>
  Encoded& operator<<(const std::vector<Item>& list) {
    *this << std::uint64_t{list.size()};
    for (const Item& item : list) *this << item;
    return *this;
  }
  Hash256 hash() const {
    return sha256({reinterpret_cast<const std::uint8_t*>(text_.data()), text_.size()});
  }

 private:
  std::string text_;
};

std::vector<std::uint64_t> wide(const std::vector<std::uint32_t>& numbers) {
  return {numbers.begin(), numbers.end()};
}

Hash256 model_hash(const Job& job) {
  const ModelConfig& model = job.model;
  Encoded text;
  text << std::uint64_t{model.height} << std::uint64_t{model.width} << std::uint64_t{model.channels}
       << static_cast<std::uint64_t>(model.loss)
       << static_cast<std::uint64_t>(job.fixed_point.fraction_bits)
       << static_cast<std::uint64_t>(job.fixed_point.master_extra_bits);
  for (const LayerConfig& l : model.layers) {
    text << static_cast<std::uint64_t>(l.kind);
    text << wide({l.units, l.channels, l.kernel, l.stride, l.pad_before, l.pad_after});
  }
  return text.hash();
}

Hash256 training_hash(const Job& job) {
  const TrainingConfig& training = job.training;
  Encoded text;
  text << job.seed << std::uint64_t{training.batch} << training.steps
       << std::uint64_t{training.optimiser.momentum_shift} << training.optimiser.weight_decay_word;
  for (const RateChange& rate : training.rates) text << rate.from_step << rate.multiplier;
  return text.hash();
}

/// Not where an owner keeps its files, and which of its rows it takes: that is its own business.
Hash256 data_hash(const Job& job) {
  Encoded text;
  for (const DataOwner& owner : job.owners) {
    text << std::uint64_t{owner.player} << std::uint64_t{owner.rows_per_step};
  }
  const DataFormat& format = job.data;
  text << format.label_names << format.features << format.subtract << format.divide_by;
  return text.hash();
}

Hash256 reveal_hash(const Job& job) {
  Encoded text;
  text << job.reveal.loss_every << std::uint64_t{job.reveal.verify}
       << static_cast<std::uint64_t>(job.reveal.answer) << wide(job.reveal.weights)
       << wide(job.reveal.predictions);
  return text.hash();
}

PlanOption option_of(const Program& program, const Plan& plan, std::uint32_t players) {
  const std::uint64_t steps = message_steps(run_cost(program, plan, {}), static_cast<int>(players));
  return {to_string(plan.profile), plan_hash(plan), steps, plan.correction_size.value};
}

/// One name for all that a run may spend.
Hash256 plans_hash(const Undertaking& what) {
  if (what.plans.empty()) return what.plan;
  std::vector<std::uint8_t> all;
  for (const PlanOption& option : what.plans) {
    all.insert(all.end(), option.plan.begin(), option.plan.end());
  }
  return sha256(all);
}

}  // namespace

Undertaking job_undertaking(const Job& job, const Program& program, const Plan& plan,
                            const std::optional<Plan>& wide_plan) {
  Undertaking what;
  what.source = job.file;
  what.players = job.players;
  what.plan = plan_hash(plan);
  if (wide_plan.has_value()) {
    what.plans = {option_of(program, plan, job.players),
                  option_of(program, *wide_plan, job.players)};
  }
  const std::string alike = "; give every player the same job";
  what.agreed = {
      {model_hash(job), "the models differ in [model], a [[layer]] or [fixed_point]" + alike},
      {training_hash(job), "the job files differ in seed or [training]" + alike},
      {data_hash(job),
       "the job files differ in the owners' rows_per_step, or in how [data] reads values and "
       "labels" +
           alike},
      {reveal_hash(job), "the job files differ in [reveal]" + alike},
      {plans_hash(what),
       "the plans differ: another batch, other players or another profile in it" + alike},
      {program_hash(program),
       "the programs differ: another version, or another owner or receiver" + alike}};
  what.lease_bundles = job.pool.lease_steps;
  what.refuses_rollback = job.pool.refuses_rollback;
  what.network = job.network;
  return what;
}

Result<std::unique_ptr<Player>> connect_job_player_blocking(const Job& job, const Program& program,
                                                            Plan& plan,
                                                            std::optional<Plan>& wide_plan,
                                                            const PlayerOptions& options) {
  const Undertaking what = job_undertaking(job, program, plan, wide_plan);
  BP_ASSIGN(std::unique_ptr<Player> player, Player::connect_blocking(what, options));
  if (player->plan_index() == 1) plan = std::move(*wide_plan);
  wide_plan.reset();
  return player;
}

}  // namespace beaverpond
