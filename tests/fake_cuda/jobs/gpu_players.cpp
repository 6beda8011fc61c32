#include "tests/fake_cuda/jobs/gpu_players.h"

#include <atomic>
#include <filesystem>
#include <utility>

#include "offline/factory/program.h"
#include "offline/plan/program_hash.h"
#include "offline/pool/posix_storage.h"
#include "offline/pool/roster_identity.h"
#include "online/cli/job_player.h"
#include "tests/fake_cuda/jobs/loaded_module.h"
#include "tests/fake_cuda/nccl/standin.h"

namespace beaverpond::testing {
namespace {

const char* const kData = "/usr/share/datasets/fashion-mnist/";

template <class T>
T must(Result<T> made, const char* what) {
  BP_CHECK(made.ok(), (std::string(what) + ": " + made.error().message).c_str());
  return std::move(made).value();
}

Roster make_homes(const std::string& folder) {
  Roster roster = must(keygen_all(folder, kGpuPlayers, 0), "keygen");
  roster.trusted_fabric = true;
  for (int rank = 0; rank < kGpuPlayers; ++rank) {
    const std::string path = folder + "/player" + std::to_string(rank) + "/roster.toml";
    BP_CHECK(write_roster_file(path, roster).ok(), "a home takes a roster");
  }
  return roster;
}

}  // namespace

GpuPlayers::GpuPlayers(Job job)
    : job_(std::move(job)),
      setup_(must(prepare_training(job_, job_.pool.prg), "plan")),
      roster_(make_homes(folder_.path())) {
  fake_nccl::reset();
  fake_cuda::reset({.devices = kGpuPlayers});
  BP_CHECK(write_plan_file(setup_.plan, plan_path()).ok(), "a folder takes a plan");
}

Result<void> GpuPlayers::make_bundles(std::uint64_t bundles, const std::string& device) const {
  FactoryArguments arguments;
  arguments.bundles = bundles;
  arguments.json = true;
  FactoryConfig& config = arguments.config;
  config.roster_path = home(0) + "/roster.toml";
  for (int rank = 0; rank < kGpuPlayers; ++rank) {
    config.pool_directories.push_back(home(rank) + "/pool");
  }
  config.device = device;
  config.threads = 2;
  config.classes.emplace_back();
  config.classes.back().name = "train";
  config.classes.back().plan_path = plan_path();
  config.classes.back().segment_bundles = 4;
  const std::atomic<bool> never = false;
  std::atomic<bool> reload = false;
  return run_make(arguments, FactorySignals{never, never, reload});
}

Result<TrainReport> GpuPlayers::run_player(int rank, const PlayerOptions& options,
                                           const GpuRunHooks& hooks) const {
  Plan plan = setup_.plan;
  std::optional<Plan> no_other;
  BP_ASSIGN(const std::unique_ptr<Player> player,
            connect_job_player_blocking(job_, setup_.training.program, plan, no_other, options));
  EXPECT_EQ(player->rank(), rank);
  EXPECT_EQ(player->backend().memory(),
            options.device == "cpu" ? MemoryKind::kHost : MemoryKind::kDevice);
  EXPECT_EQ(player->transport().name() == "nccl", options.transport == "nccl");
  TrainOptions train;
  train.epoch = player->roster().epoch;
  if (hooks.after_step) {
    train.on_progress = [&](const TrainProgress& now) { hooks.after_step(rank, now); };
  }
  BP_ASSIGN(TrainReport report, train_blocking(job_, setup_, player->backend(), player->transport(),
                                               player->session(), player->bundles(), train));
  BP_TRY(player->finish_blocking());
  return report;
}

std::vector<GpuRun> GpuPlayers::train(const GpuRunHooks& hooks, const GpuSetting& setting) const {
  std::vector<GpuRun> runs(kGpuPlayers);
  std::vector<PlayerOptions> options(kGpuPlayers);
  std::vector<std::string> peers;
  for (int rank = 0; rank < kGpuPlayers; ++rank) {
    const Listener listener = must(listen_on("127.0.0.1", 0), "listen");
    peers.push_back("127.0.0.1:" + std::to_string(listener.port));
    PlayerOptions& mine = options[static_cast<std::size_t>(rank)];
    mine.home = home(rank);
    mine.listen_descriptor = listener.descriptor;
    mine.device = setting.devices[static_cast<std::size_t>(rank)];
    mine.transport = setting.transport;
    mine.task = "train";
    mine.decorate = [&log = runs[static_cast<std::size_t>(rank)].over_tls](
                        std::unique_ptr<Transport> inner) -> std::unique_ptr<Transport> {
      return std::make_unique<Tap>(std::move(inner), log);
    };
  }
  decorate_gpu_transports([&](std::unique_ptr<Transport> inner) -> std::unique_ptr<Transport> {
    std::vector<Sent>& log = runs[static_cast<std::size_t>(inner->rank())].over_gpus;
    return std::make_unique<Tap>(std::move(inner), log, hooks.before_opening);
  });
  run_players(kGpuPlayers, [&](int rank) {
    const auto i = static_cast<std::size_t>(rank);
    options[i].peers = peers;
    Result<TrainReport> report = run_player(rank, options[i], hooks);
    runs[i].ended = std::chrono::steady_clock::now();
    if (report.ok()) {
      runs[i].report = std::move(report).value();
    } else {
      runs[i].error = std::move(report).error();
    }
  });
  decorate_gpu_transports({});
  return runs;
}

void GpuPlayers::copy_pools(const std::string& from, const std::string& to) const {
  for (int rank = 0; rank < kGpuPlayers; ++rank) {
    std::filesystem::remove_all(home(rank) + to);
    std::filesystem::copy(home(rank) + from, home(rank) + to,
                          std::filesystem::copy_options::recursive);
  }
}

Result<Pool> GpuPlayers::open_pool(int rank) const {
  static PosixStorage storage;
  PoolOptions options;
  options.directory = home(rank) + "/pool";
  options.identity = pool_identity(roster_, rank);
  options.storage = &storage;
  options.dealer_key = roster_.dealer_key;
  options.pool_key = roster_.players[static_cast<std::size_t>(rank)].pool_key;
  options.key_path = home(rank) + "/pool.key";
  return Pool::open(options);
}

Job small_job(const std::string& example, std::uint32_t rows, std::uint64_t steps) {
  Job job = must(read_job(std::string(BEAVERPOND_SOURCE_DIR) + "/online/examples/" + example),
                 "an example's job");
  job.players = kGpuPlayers;
  // The example's own classes, if it gives owners any; else different rows.
  job.owners.resize(kGpuPlayers);
  for (std::uint32_t rank = 0; rank < kGpuPlayers; ++rank) {
    DataOwner& owner = job.owners[rank];
    owner.player = rank;
    owner.train_images = std::string(kData) + "t10k-images-idx3-ubyte.gz";
    owner.train_labels = std::string(kData) + "t10k-labels-idx1-ubyte.gz";
    owner.rows.reset();
    if (owner.classes.empty()) owner.rows = RowRange{1000 * rank, 1000 * rank + 1000};
    owner.rows_per_step = rows;
  }
  job.training.batch = kGpuPlayers * rows;
  job.training.steps = steps;
  job.test_images.clear();
  job.test_labels.clear();
  job.reveal = RevealConfig{};
  job.reveal.verify = true;
  job.network.connect_timeout_ms = 60'000;
  job.network.round_timeout_ms = 60'000;
  // Threads of a busy machine, not a network: a silent player is one that waits for a core.
  job.network.peer_timeout_ms = 30'000;
  return job;
}

}  // namespace beaverpond::testing
