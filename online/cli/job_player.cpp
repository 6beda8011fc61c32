#include "online/cli/job_player.h"

#include <sstream>

namespace beaverpond {

Hash256 public_job_hash(const Job& job) {
  std::ostringstream text;
  text << job.players << ' ' << job.seed << ' ' << job.fixed_point.fraction_bits << ' '
       << job.fixed_point.master_extra_bits << ' ' << job.training.batch << ' '
       << job.training.steps << '\n';
  for (const RateChange& rate : job.training.rates) {
    text << "rate " << rate.from_step << ' ' << rate.multiplier << '\n';
  }
  for (const DataOwner& owner : job.owners) {
    text << "owner " << owner.player << ' ' << owner.rows_per_step << '\n';
  }
  text << "loss_every " << job.reveal.loss_every << " verify " << job.reveal.verify << '\n';
  for (const std::uint32_t player : job.reveal.weights) text << "weights " << player << '\n';
  for (const std::uint32_t player : job.reveal.predictions) {
    text << "predictions " << player << '\n';
  }
  const std::string bytes = text.str();
  return sha256({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

Result<std::unique_ptr<Player>> connect_job_player_blocking(const Job& job, const Hash256& plan,
                                                            const Hash256& program,
                                                            const PlayerOptions& options) {
  Undertaking what;
  what.source = job.file;
  what.players = job.players;
  what.plan = plan;
  what.agreed = {{plan,
                  "the plans differ: another model, batch, fraction_bits or number of rows per "
                  "owner; give every player the same job"},
                 {program,
                  "the programs differ: another pool, padding, optimiser, owner or receiver; give "
                  "every player the same job"},
                 {public_job_hash(job),
                  "the job files differ in seed, schedule, owners or reveals; give every player "
                  "the same job"}};
  what.lease_bundles = job.pool.lease_steps;
  what.refuses_rollback = job.pool.refuses_rollback;
  what.network = job.network;
  return Player::connect_blocking(what, options);
}

}  // namespace beaverpond
