#include "bench/dealing/dealing.h"

#include <chrono>
#include <utility>

#include "offline/pool/random.h"
#include "online/nn/emulate.h"
#include "online/session/session.h"

namespace beaverpond {

Result<std::vector<Seed>> fresh_seeds(int players) {
  std::vector<Seed> seeds(static_cast<std::size_t>(players));
  for (Seed& seed : seeds) BP_TRY(fill_random_blocking(seed.mutable_bytes()));
  return seeds;
}

Result<MemoryDealer> MemoryDealer::create(const Plan& plan, int players) {
  std::unique_ptr<Backend> backend = make_cpu_backend();
  BP_ASSIGN(Dealer dealer, Dealer::create(plan, players, *backend));
  return MemoryDealer(plan, players, std::move(backend), std::move(dealer));
}

Result<void> MemoryDealer::deal_to(Dealt& dealt) {
  const std::uint64_t number = next_++;
  const int designated = designated_player(number, players_, scheme_of(plan_->protocol));
  BP_ASSIGN(const std::vector<Seed> seeds, fresh_seeds(players_));
  BP_ASSIGN(Buffer memory, backend_->allocate(plan_->correction_size));
  const auto correction = std::make_shared<const Buffer>(std::move(memory));
  BP_TRY(dealer_.deal(seeds, designated, correction->bytes(), kHostStream));
  dealt.of_player.resize(seeds.size());
  for (int i = 0; i < players_; ++i) {
    const auto index = static_cast<std::size_t>(i);
    const std::span<std::uint8_t> own =
        i == designated ? correction->bytes() : std::span<std::uint8_t>();
    dealt.of_player[index].emplace_back(number, designated, seeds[index], own, correction);
  }
  dealt.corrections.push_back(correction);
  return {};
}

Result<Dealt> deal_bundles(const Plan& plan, int players, std::uint64_t count) {
  BP_ASSIGN(MemoryDealer dealer, MemoryDealer::create(plan, players));
  Dealt dealt;
  for (std::uint64_t i = 0; i < count; ++i) BP_TRY(dealer.deal_to(dealt));
  return dealt;
}

Result<Bundle> DealtBundles::next_blocking(std::uint64_t /*step*/, std::uint64_t /*steps_left*/) {
  if (next_ == bundles_.size()) {
    return make_error(ErrorCode::kPoolDry, "all " + std::to_string(bundles_.size()) +
                                               " bundles that were dealt are spent");
  }
  return std::move(bundles_[next_++]);
}

void set_protocol(Job& job, const Setting& setting) {
  job.protocol = setting.protocol;
  if (setting.protocol != Protocol::kAdditive) job.players = 3;
  if (setting.players != 0) job.players = setting.players;
}

Result<TrainingCase> make_training_case(const std::string& job_path, std::uint64_t steps,
                                        const Setting& setting) {
  TrainingCase test;
  BP_ASSIGN(test.job, read_job(job_path));
  set_protocol(test.job, setting);
  test.job.training.steps = steps;
  test.job.test_images.clear();
  test.job.test_labels.clear();
  test.job.reveal.weights = {0};
  BP_ASSIGN(test.setup, prepare_training(test.job, PrgKind::kAes128Ctr));
  BP_ASSIGN(EmulateReport twin, emulate(test.job, {}));
  test.expected = std::move(twin.weights);
  return test;
}

Result<TrainReport> train_player_blocking(const TrainingCase& test, Transport& transport,
                                          std::vector<Bundle> bundles, const TrainOptions& options,
                                          Backend* backend) {
  BP_ASSIGN(const Session session,
            Session::create_blocking(transport,
                                     std::chrono::steady_clock::now() + std::chrono::seconds(30)));
  const std::unique_ptr<Backend> cpu = backend == nullptr ? make_cpu_backend() : nullptr;
  DealtBundles source(std::move(bundles));
  return train_blocking(test.job, test.setup, backend == nullptr ? *cpu : *backend, transport,
                        session, source, options);
}

}  // namespace beaverpond
