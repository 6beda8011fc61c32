// Bundles that are dealt into memory before the clock starts, and what training with them must
// give.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "beaverpond/bundle.h"
#include "beaverpond/result.h"
#include "kernels/backend.h"
#include "offline/dealer/dealer.h"
#include "online/nn/trainer.h"
#include "online/session/bundle_source.h"
#include "online/transport/transport.h"

namespace beaverpond {

/// One fresh seed per player from the operating system. Errors: kIo.
Result<std::vector<Seed>> fresh_seeds(int players);

/// Fresh bundles of all players.
struct Dealt {
  std::vector<std::vector<Bundle>> of_player;
  /// Kept to the end: giving this memory back is no part of a run.
  std::vector<std::shared_ptr<const Buffer>> corrections;
};

/// Deals bundles of one plan. Numbers are given out once, from 0.
class MemoryDealer {
 public:
  /// `plan` must outlive the dealer. Errors: those of Dealer::create().
  static Result<MemoryDealer> create(const Plan& plan, int players);
  /// Adds the next bundle to every player's list. Errors: kIo, kOutOfMemory.
  Result<void> deal_to(Dealt& dealt);

 private:
  MemoryDealer(const Plan& plan, int players, std::unique_ptr<Backend> backend, Dealer dealer)
      : plan_(&plan), players_(players), backend_(std::move(backend)), dealer_(std::move(dealer)) {}

  const Plan* plan_;
  int players_;
  std::unique_ptr<Backend> backend_;
  Dealer dealer_;
  std::uint64_t next_ = 0;
};

/// Errors: those of MemoryDealer.
Result<Dealt> deal_bundles(const Plan& plan, int players, std::uint64_t count);

/// One player's dealt bundles, in order; each leaves once. Errors: kPoolDry after the last.
class DealtBundles final : public BundleSource {
 public:
  explicit DealtBundles(std::vector<Bundle> bundles) : bundles_(std::move(bundles)) {}
  Result<Bundle> next_blocking(std::uint64_t step, std::uint64_t steps_left) override;
  std::uint64_t left() const override { return bundles_.size() - next_; }

 private:
  std::vector<Bundle> bundles_;
  std::size_t next_ = 0;
};

/// A job of a few steps whose weights player 0 learns at the end, and the twin's weights.
struct TrainingCase {
  Job job;
  TrainingSetup setup;
  std::vector<WeightTensor> expected;
};

/// Who computes a job, and how.
struct Setting {
  Protocol protocol = Protocol::kAdditive;
  std::uint32_t players = 0;  ///< 0: the job's own, under SecureNN three; a third owns nothing
};
void set_protocol(Job& job, const Setting& setting);

/// The job file with `steps` steps and without a test set. Errors: those of read_job(), emulate().
Result<TrainingCase> make_training_case(const std::string& job_path, std::uint64_t steps,
                                        const Setting& setting = {});

/// One player's part of a case, over any transport, on the CPU where `backend` is null. Errors:
/// those of train_blocking().
Result<TrainReport> train_player_blocking(const TrainingCase& test, Transport& transport,
                                          std::vector<Bundle> bundles, const TrainOptions& options,
                                          Backend* backend = nullptr);

}  // namespace beaverpond
