#include "online/cli/job_player.h"

#include <bit>
#include <string>
#include <vector>

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

}  // namespace

Undertaking job_undertaking(const Job& job, const Hash256& plan, const Hash256& program) {
  Undertaking what;
  what.source = job.file;
  what.players = job.players;
  what.plan = plan;
  const std::string alike = "; give every player the same job";
  what.agreed = {
      {model_hash(job), "the models differ in [model], a [[layer]] or [fixed_point]" + alike},
      {training_hash(job), "the job files differ in seed or [training]" + alike},
      {data_hash(job),
       "the job files differ in the owners' rows_per_step, or in how [data] reads values and "
       "labels" +
           alike},
      {reveal_hash(job), "the job files differ in [reveal]" + alike},
      {plan, "the plans differ: another batch or other players in it" + alike},
      {program, "the programs differ: another version, or another owner or receiver" + alike}};
  what.lease_bundles = job.pool.lease_steps;
  what.refuses_rollback = job.pool.refuses_rollback;
  what.network = job.network;
  return what;
}

Result<std::unique_ptr<Player>> connect_job_player_blocking(const Job& job, const Hash256& plan,
                                                            const Hash256& program,
                                                            const PlayerOptions& options) {
  return Player::connect_blocking(job_undertaking(job, plan, program), options);
}

}  // namespace beaverpond
