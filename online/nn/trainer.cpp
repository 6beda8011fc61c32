#include "online/nn/trainer.h"

#include <bit>
#include <chrono>
#include <memory>

#include "online/nn/dataset.h"
#include "online/nn/schedule.h"
#include "online/nn/session_engine.h"

namespace beaverpond {
/// This player's rows of every batch.
struct OwnRows {
  std::uint32_t part = 0;
  Dataset data;
  std::vector<std::uint32_t> rows;
  std::unique_ptr<RowSchedule> schedule;
  std::vector<std::uint32_t> chosen;  ///< of one step, as the two below
  std::vector<std::uint64_t> images;
  std::vector<std::uint64_t> labels;

  void load_step(const Job& job, std::uint64_t step) {
    schedule->put_rows_of_step(step, chosen);
    for (std::uint32_t& row : chosen) row = rows[row];
    const int f = job.fixed_point.fraction_bits;
    put_image_words(data, chosen, f, images);
    put_label_words(data, chosen, job.model.classes(), f, labels);
  }
};

namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t everyone(const Job& job) {
  return ~std::uint64_t{0} >> (64 - job.players);
}

/// Loss per row, from the batch's at scale 2f.
std::optional<double> revealed_loss(const Job& job, const Engine& engine, bool opened) {
  if (!opened || job.reveal.loss_every == 0 || engine.revealed(0).empty()) return std::nullopt;
  const double one = static_cast<double>(std::uint64_t{1} << job.fixed_point.fraction_bits);
  const auto sum = static_cast<double>(static_cast<std::int64_t>(engine.revealed(0)[0]));
  return sum / (one * one) * loss_factor(job.model.loss) / job.training.batch;
}

void hash_words(std::vector<std::uint8_t>& bytes, std::uint64_t word) {
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<std::uint8_t>(word >> (8 * i)));
}

/// Every state of the program: weights, and what the optimiser remembers.
Result<void> keep_checkpoint(const TrainCheckpoints& to, const Program& program,
                             const Session& session, std::uint64_t steps_done, Engine& engine) {
  Checkpoint checkpoint;
  checkpoint.name = {to.run, session.id(), steps_done};
  checkpoint.epoch = session.epoch();
  for (std::uint32_t slot = 0; slot < program.states; ++slot) {
    BP_ASSIGN(std::vector<std::uint64_t> words, engine.state_share(slot));
    checkpoint.states.push_back(std::move(words));
  }
  return to.store->write_blocking(checkpoint);
}

/// Returns the step at which to go on.
Result<std::uint64_t> load_checkpoint(const TrainCheckpoints& from, const Program& program,
                                      const Job& job, Engine& engine) {
  BP_ASSIGN(const Checkpoint checkpoint, from.store->read_blocking(*from.from));
  const auto wrong = [&](const std::string& what) {
    return make_error(ErrorCode::kCheckpointMismatch,
                      "the checkpoint of step " + std::to_string(checkpoint.name.step) + " " +
                          what + "; resume with the program and job that it was made with");
  };
  if (checkpoint.name.step > job.training.steps) return wrong("lies beyond the end of the job");
  if (checkpoint.states.size() != program.states) return wrong("has other states than the model");
  for (std::uint32_t slot = 0; slot < program.states; ++slot) {
    BP_ASSIGN(const std::vector<std::uint64_t> initial, engine.state_share(slot));
    if (initial.size() != checkpoint.states[slot].size())
      return wrong("has tensors of other sizes");
    BP_TRY(engine.set_state_share(slot, checkpoint.states[slot]));
  }
  return checkpoint.name.step;
}

/// From the beginning, or from where the players agreed to go on; leaves no checkpoint of a session
/// that nobody goes on from.
Result<std::uint64_t> first_step(const Job& job, const TrainingSetup& setup, const Session& session,
                                 const TrainOptions& options, Engine& engine) {
  if (!options.checkpoints.has_value()) return std::uint64_t{0};
  const TrainCheckpoints& checkpoints = *options.checkpoints;
  const Program& program = setup.training.program;
  if (checkpoints.from.has_value()) {
    BP_ASSIGN(const std::uint64_t step, load_checkpoint(checkpoints, program, job, engine));
    BP_TRY(checkpoints.store->keep_only_blocking(checkpoints.from));
    return step;
  }
  BP_TRY(checkpoints.store->keep_only_blocking(std::nullopt));
  BP_TRY(keep_checkpoint(checkpoints, program, session, 0, engine));
  return std::uint64_t{0};
}

/// An error of a step says which, and the membership epoch.
Error at_step(Error error, std::uint64_t step, std::uint64_t epoch) {
  error.message = "step " + std::to_string(step) + ": " + error.message;
  error.step = step;
  error.epoch = epoch;
  return error;
}

Result<std::unique_ptr<Engine>> make_engine(const Job& job, const TrainingSetup& setup,
                                            Backend& backend, Transport& transport,
                                            const Session& session, const TrainOptions& options) {
  BP_ASSIGN(
      std::unique_ptr<Engine> engine,
      create_session_engine(job.network, setup.training.program, setup.plan, backend, transport,
                            session, options.lane, options.epoch, options.profile));
  const std::vector<std::vector<std::uint64_t>> initial =
      initial_weights(setup.parameters, job.seed);
  for (std::uint32_t slot = 0; slot < initial.size(); ++slot) {
    BP_TRY(engine->set_public_state(slot, initial[slot]));
  }
  return engine;
}

Result<std::vector<WeightTensor>> reveal_weights(const Job& job, const TrainingSetup& setup,
                                                 Engine& engine, int rank) {
  std::vector<WeightTensor> weights;
  const std::uint64_t receivers = weight_receivers(job);
  if (receivers == 0) return weights;
  for (std::uint32_t slot = 0; slot < setup.parameters.size(); ++slot) {
    BP_ASSIGN(std::vector<std::uint64_t> words, engine.reveal_state(slot, receivers, slot));
    const ModelParameter& parameter = setup.parameters[slot];
    if (((receivers >> rank) & 1) != 0) {
      weights.push_back({parameter.shape, parameter.scale_bits, std::move(words)});
    }
  }
  return weights;
}

}  // namespace

std::uint64_t weight_receivers(const Job& job) {
  if (job.reveal.verify) return everyone(job);
  std::uint64_t receivers = 0;
  for (const std::uint32_t player : job.reveal.weights) receivers |= std::uint64_t{1} << player;
  return receivers;
}

Result<TrainingSetup> prepare_training(const Job& job, PrgKind prg) {
  TrainingSetup setup;
  TrainingProgramOptions options;
  for (const DataOwner& owner : job.owners) {
    options.parts.push_back({owner.player, owner.rows_per_step});
  }
  if (job.reveal.loss_every != 0) options.loss_receivers = everyone(job);
  BP_ASSIGN(setup.training,
            build_training_program(job.model, job.fixed_point, job.training.optimiser, options));
  BP_ASSIGN(setup.parameters, model_parameters(job.model, job.fixed_point));
  BP_ASSIGN(setup.plan, make_plan(setup.training.program, prg,
                                  job.pool.profile.value_or(CompareProfile::kLan), job.protocol));
  if (!job.pool.profile.has_value()) {
    BP_ASSIGN(setup.wide_plan, make_plan(setup.training.program, prg, CompareProfile::kWan));
  }
  return setup;
}

Result<OwnData> OwnData::read(const Job& job, int rank) {
  OwnData data;
  for (std::uint32_t part = 0; part < job.owners.size(); ++part) {
    const DataOwner& owner = job.owners[part];
    if (static_cast<int>(owner.player) != rank) continue;
    OwnRows own;
    own.part = part;
    BP_ASSIGN(own.data, read_dataset(owner.train_images, owner.train_labels, job));
    BP_ASSIGN(own.rows, owned_rows(owner, own.data));
    own.schedule = std::make_unique<RowSchedule>(
        job.seed, owner.player, static_cast<std::uint32_t>(own.rows.size()), owner.rows_per_step);
    data.rows_ = std::make_shared<OwnRows>(std::move(own));
    break;
  }
  return data;
}

Hash256 OwnData::hash() const {
  if (rows_ == nullptr) return {};
  const Samples& images = rows_->data.images;
  std::vector<std::uint8_t> bytes;
  const std::uint64_t size = images.image_size();
  hash_words(bytes, size);
  for (const std::uint32_t row : rows_->rows) {
    hash_words(bytes, rows_->data.labels[row]);
    for (std::uint64_t i = row * size; i < (row + 1) * size; ++i) {
      if (images.reals.empty()) {
        bytes.push_back(images.pixels[i]);
      } else {
        hash_words(bytes, std::bit_cast<std::uint64_t>(images.reals[i]));
      }
    }
  }
  return sha256(bytes);
}

Result<void> check_own_data(const Job& job, int rank) {
  BP_TRY(OwnData::read(job, rank));
  return {};
}

Result<TrainReport> train_blocking(const Job& job, const TrainingSetup& setup, Backend& backend,
                                   Transport& transport, const Session& session,
                                   BundleSource& bundles, const TrainOptions& options) {
  if (transport.size() != static_cast<int>(job.players)) {
    return make_error(ErrorCode::kConfig, "the job is for " + std::to_string(job.players) +
                                              " players, but " + std::to_string(transport.size()) +
                                              " are connected");
  }
  std::optional<OwnData> read;
  if (!options.own.has_value()) {
    BP_ASSIGN(read, OwnData::read(job, transport.rank()));
  }
  OwnRows* const own = (options.own.has_value() ? *options.own : *read).rows();
  BP_ASSIGN(const std::unique_ptr<Engine> engine,
            make_engine(job, setup, backend, transport, session, options));
  RunInputs run;
  run.inputs.resize(setup.training.program.inputs);
  TrainReport report;
  const Clock::time_point start = Clock::now();
  const auto seconds = [start] {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  BP_ASSIGN(const std::uint64_t first, first_step(job, setup, session, options, *engine));
  for (std::uint64_t step = first; step < job.training.steps; ++step) {
    if (own != nullptr) {
      own->load_step(job, step);
      run.inputs[setup.training.image_slot(own->part)] = own->images;
      run.inputs[setup.training.label_slot(own->part)] = own->labels;
    }
    run.step_multiplier = job.training.multiplier_of_step(step);
    run.skip_reveals = job.reveal.loss_every == 0 || (step + 1) % job.reveal.loss_every != 0;
    Result<Bundle> bundle = bundles.next_blocking(step, job.training.steps - step);
    if (!bundle.ok()) return at_step(std::move(bundle).error(), step, options.epoch);
    Result<void> done = engine->run(std::move(bundle).value(), run);
    const std::uint64_t steps_done = step + 1;
    if (done.ok() && options.checkpoints.has_value() &&
        (steps_done % options.checkpoints->every == 0 || steps_done == job.training.steps)) {
      done = keep_checkpoint(*options.checkpoints, setup.training.program, session, steps_done,
                             *engine);
    }
    if (!done.ok()) return at_step(std::move(done).error(), step, options.epoch);
    if (!options.on_progress) continue;
    options.on_progress({steps_done, job.training.steps,
                         revealed_loss(job, *engine, !run.skip_reveals),
                         static_cast<double>(steps_done - first) / seconds(), bundles.left()});
  }
  report.seconds = seconds();
  report.steps = job.training.steps - first;
  BP_ASSIGN(report.weights, reveal_weights(job, setup, *engine, transport.rank()));
  for (std::uint32_t slot = 0; options.keep_shares && slot < setup.parameters.size(); ++slot) {
    const ModelParameter& parameter = setup.parameters[slot];
    BP_ASSIGN(std::vector<std::uint64_t> words, engine->state_share(slot));
    report.shares.push_back({parameter.shape, parameter.scale_bits, std::move(words)});
  }
  report.engine = engine->stats();
  report.profile = engine->profile();
  return report;
}

}  // namespace beaverpond
