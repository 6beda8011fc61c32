// beaverpond: trains and runs neural networks on data that none of the players can see.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "kernels/synthetic/source.h"
#include "offline/plan/file.h"
#include "online/cli/commands.h"
#include "online/nn/config_section.h"
#include "online/player/launch_place.h"

namespace {

using namespace beaverpond;

/// Who this is and where the others are.
void add_launch_flags(CLI::App& command, LaunchFlags& flags) {
  CLI::Option* home = command.add_option("--home", flags.home,
                                         "this player's folder: key, certificate, roster, pool");
  command
      .add_option("--homes", flags.homes,
                  "instead: the folder of player0, player1 .., where a launcher says which one")
      ->excludes(home);
  command.add_option("--rank", flags.rank,
                     "this player's rank (default: RANK, that of mpirun or srun, or its place in "
                     "the roster)");
  command.add_option("--size", flags.size, "number of players, with --rank");
  command.add_option("--peers", flags.peers, "host:port of every player, by rank")->delimiter(',');
}

void add_player(CLI::App& command, LaunchFlags& flags, PlayerOptions& options) {
  add_launch_flags(command, flags);
  command.add_option("--listen-fd", options.listen_descriptor,
                     "descriptor that listens already (given by launch)");
  command.add_option("--lane", options.lane, "lane of the pool")->capture_default_str();
  command.add_option("--device", options.device, kDeviceHelp)
      ->check([](const std::string& device) -> std::string {
        const Result<void> known = check_device(device);
        return known.ok() ? "" : known.error().message;
      });
  command
      .add_option("--threads", options.threads,
                  "that large products share on a CPU (default: the cores of this host, divided by "
                  "the players on it)")
      ->check(CLI::Range(1, 1024));
  command.add_flag("--pin", options.pin,
                   "keep each of these threads on a CPU of its own, which no other player of this "
                   "host gets");
  command
      .add_option(
          "--reconnect", options.reconnect_seconds,
          "seconds for which a connection that broke may come back and go on, instead of the "
          "job's; with --transport tls")
      ->check(CLI::Range(0, 3600));
  command
      .add_option("--transport", options.transport,
                  "tls; or nccl, from GPU to GPU, or mpi, under mpirun: openings travel not "
                  "encrypted, which the roster must allow (trusted_fabric = true)")
      ->capture_default_str()
      ->check([](const std::string& transport) -> std::string {
        const Result<void> known = check_transport(transport);
        return known.ok() ? "" : known.error().message;
      });
}

void add_keygen(CLI::App& app, KeygenOptions& options) {
  CLI::App& command = *app.add_subcommand("keygen", "make keys, certificates and homes");
  command.add_option("--all", options.all, "players of one host")->check(CLI::Range(2, 64));
  command.add_option("--base", options.base, "with --all: folder of player0, player1 ..");
  command.add_option("--home", options.home, "home of one player");
  command.add_option("--name", options.name, "with --home: the player's name");
  command.add_option("--host", options.host,
                     "with --home: where the others reach it; prints the roster's entry alone");
}

void add_epoch(CLI::App& app, EpochOptions& options) {
  CLI::App& command = *app.add_subcommand(
      "epoch", "start a new membership epoch with an empty pool, after all disks were put back");
  command.add_option("--home", options.home, "this player's folder")->required();
  command.add_option("--to", options.to, "number of the epoch; the same on all players")
      ->required()
      ->check(CLI::Range(std::uint64_t{1}, ~std::uint64_t{0} >> 1));
}

void add_pool(CLI::App& app, PoolImportOptions& options) {
  CLI::App& pool = *app.add_subcommand("pool", "looks after this player's pool");
  pool.require_subcommand(1);
  CLI::App& command = *pool.add_subcommand(
      "import", "publishes segments that `triple-factory export` wrote and somebody carried here");
  command.add_option("--home", options.home, "this player's folder")->required();
  command.add_option("files", options.files, "segment files, or folders of them")->required();
}

struct CostOptions {
  CLI::Option* full;
  CLI::Option* dealing;
};

CostOptions add_costs(CLI::App& command, bool& full, std::vector<std::string>& dealing) {
  return {command.add_flag("--full", full, "a line per operation instead of one per layer"),
          command
              .add_option("--dealing", dealing,
                          "adds seconds of dealing: a file that `triple-factory profile --json` "
                          "wrote; twice where profile = \"auto\", once for each plan")
              ->allow_extra_args(false)};
}

void add_profile(CLI::App& command, ProfileFlags& flags) {
  CLI::Option* profile =
      command.add_flag("--profile", flags.profile,
                       "afterwards, what every layer cost: on stderr, and in the report");
  const CostOptions costs = add_costs(command, flags.full, flags.dealing);
  costs.full->needs(profile);
  costs.dealing->needs(profile);
}

void add_plan(CLI::App& app, PlanOptions& options) {
  CLI::App& command = *app.add_subcommand("plan", "what a job needs; writes the .plan file");
  command.add_option("job", options.job, "job file (TOML)")->required();
  command.add_option("-o,--output", options.output, "plan file for triple-factory");
  CLI::Option* inference =
      command.add_flag("--inference", options.inference, "plan one batch of inference");
  command.add_option("--batch", options.batch, "with --inference")
      ->needs(inference)
      ->capture_default_str();
  command.add_option("--asker", options.asker, "with --inference")
      ->needs(inference)
      ->capture_default_str();
  CLI::Option* owner =
      command.add_option("--weights-owner", options.weights_owner, "with --inference")
          ->needs(inference)
          ->capture_default_str();
  command
      .add_flag("--shared-weights", options.shared_weights,
                "with --inference: weights that training left shared (infer --shares)")
      ->needs(inference)
      ->excludes(owner);
  command.add_option("--series", options.series, "with --inference: batches of one bundle")
      ->needs(inference)
      ->capture_default_str();
  command.add_option("--player", options.player, "player whose bytes are shown")
      ->capture_default_str();
  add_costs(command, options.full, options.dealing);
  command.add_flag("--json", options.json, "one JSON line instead of text");
}

void add_emulate(CLI::App& app, EmulateCommand& options) {
  CLI::App& command =
      *app.add_subcommand("emulate", "the same training in plaintext, on all data in one place");
  command.add_option("job", options.job, "job file (TOML)")->required();
  command.add_flag("--float", options.use_float, "floating point instead of fixed point");
  command.add_option("--alone", options.alone, "train this player alone on its own rows");
  command.add_option("--evaluate", options.weights, "weight file: measure it on the test set");
  command.add_option("--weights-out", options.weights_out, "file for the trained weights");
  command.add_flag("--json", options.json, "JSON lines even on a terminal");
}

void add_train(CLI::App& app, LaunchFlags& flags, TrainCommand& options) {
  CLI::App& command = *app.add_subcommand("train", "one player's part of a training job");
  command.add_option("job", options.job, "job file (TOML)")->required();
  add_player(command, flags, options.player);
  command.add_option("--weights-out", options.weights_out,
                     "file for the weights, where the job reveals them to this player");
  command.add_option("--shares-out", options.shares_out,
                     "name of a new file in the home for this player's shares of the weights "
                     "(infer --shares)");
  command.add_option("--checkpoint-every", options.checkpoint_every,
                     "steps between checkpoints, instead of the job's; the same on all players");
  command.add_flag("--resume", options.resume,
                   "go on from the last checkpoint that all players hold");
  command.add_option("--rejoin", options.rejoin_seconds,
                     "seconds to wait for a lost player to come back, instead of the job's");
  command.add_option("--report", options.report, "file for the last JSON line");
  command.add_flag("--json", options.json, "JSON lines even on a terminal");
  add_profile(command, options.profile);
}

void add_infer(CLI::App& app, LaunchFlags& flags, InferCommand& options) {
  CLI::App& command = *app.add_subcommand("infer", "one player's part of an inference");
  command.add_option("job", options.job, "job file of the model")->required();
  add_player(command, flags, options.player);
  command
      .add_option("--asker", options.asker, "player that owns the images and learns the answers")
      ->capture_default_str();
  command.add_option("--weights-owner", options.weights_owner, "player that owns the weights")
      ->capture_default_str();
  CLI::Option* weights =
      command.add_option("--weights", options.weights, "weight file; its owner only");
  command
      .add_option("--shares", options.shares,
                  "instead: each player's shares, as train --shares-out kept them in its home")
      ->excludes(weights);
  command
      .add_option("--series", options.series,
                  "batches of one bundle: the weights are masked and opened once for all of them")
      ->capture_default_str();
  command.add_option("--images", options.images, "IDX, .npy, .npz or .csv file; the asker only");
  command.add_option("--labels", options.labels, "IDX file, to print the accuracy");
  command.add_option("--batch", options.batch, "images per bundle")->capture_default_str();
  command.add_option("--count", options.count, "images in all; the same on all players")
      ->required();
  command.add_option("--predictions-out", options.predictions_out,
                     "a line an image: its class, then what else the job answers with");
  command.add_option("--report", options.report, "file for the last JSON line");
  command.add_flag("--json", options.json, "JSON lines even on a terminal");
  add_profile(command, options.profile);
}

void add_doctor(CLI::App& app, LaunchFlags& flags, DoctorCommand& options) {
  CLI::App& command = *app.add_subcommand(
      "doctor", "is all well? run it on all players at once, as the job will be, before the job");
  command.add_option("job", options.job, "job file (TOML), to look at what it needs too");
  add_player(command, flags, options.player);
  command.add_flag("--local", options.local, "this player alone, without the others");
  command.add_option("--timeout", options.timeout_seconds, "seconds to wait for the others")
      ->check(CLI::Range(1, 3600));
  command.add_flag("--json", options.json, "one JSON line instead of text");
}

void add_launch(CLI::App& app, LaunchCommand& options) {
  CLI::App& command = *app.add_subcommand(
      "launch", "all players on this host: launch --homes DIR train JOB [flags]");
  command.add_option("--homes", options.homes, "folder of player0, player1 .. (keygen --all)")
      ->required();
  command.add_option("--report", options.report, "file for one JSON line over all players");
  command.add_flag("--one-gpu-each", options.one_gpu_each,
                   "player I computes on GPU I: --device cuda:I");
  command
      .add_option("--restart", options.restarts,
                  "start a player that a signal killed again, each so many times; the job needs "
                  "checkpoints")
      ->check(CLI::Range(0, 1000));
  command.prefix_command();
}

void add_synthesize(CLI::App& app, SynthesizeCommand& options) {
  CLI::App& command = *app.add_subcommand(
      "synthesize", "a data set that is made up, for trying things out and measuring");
  command.add_option("--images", options.images, "images for training")->required();
  command.add_option("--test-images", options.test_images,
                     "images for testing (default: a sixth of --images)");
  command.add_option("--shape", options.shape, "height x width x channels")->capture_default_str();
  command.add_option("--classes", options.classes)->capture_default_str();
  command.add_option("--seed", options.seed, "of the data set; no secret")->capture_default_str();
  command.add_option("--out", options.folder, "folder for the files")->required();
  command.add_option("--device", options.device, kSyntheticDeviceHelp);
}

/// CLI11 would only say that a subcommand is required.
bool is_command(const CLI::App& app, const std::string& word) {
  if (word.empty() || word[0] == '-') return true;
  std::vector<std::string_view> known;
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_name() == word) return true;
    known.push_back(command->get_name());
  }
  std::fprintf(stderr, "beaverpond: unknown command '%s'%s; `beaverpond --help` lists them\n",
               word.c_str(), did_you_mean(word, known).c_str());
  return false;
}

/// In a signal handler: nothing but calls that are safe there.
extern "C" void end_on_request(int /*signal*/) {
  static constexpr char kText[] =
      "beaverpond: cancelled: stopped on request; what a player had leased is burned, and a "
      "training "
      "goes on with `train --resume` from the last checkpoint that all players hold\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kText, sizeof kText - 1);
  ::_exit(static_cast<int>(ErrorCode::kCancelled));
}

/// A player may end at any instruction: what it had on disk is as after a crash. It must not be
/// left to the kernel, which lets no signal without a handler end a container's first process.
void end_on_signals() {
  for (const int number : {SIGTERM, SIGINT}) {
    // Who started it may want it to ignore them, as a shell its jobs in the background.
    if (std::signal(number, end_on_request) == SIG_IGN) std::signal(number, SIG_IGN);
  }
}

/// Decides who this player is, and says what decided.
Result<void> settle(const LaunchFlags& flags, PlayerOptions& player) {
  BP_ASSIGN(Launch launch, resolve_launch(flags, process_environment()));
  std::fprintf(stderr, "%s\n", launch.line.c_str());
  player.home = std::move(launch.home);
  player.peers = std::move(launch.peers);
  return {};
}

int run(int argc, char** argv) {
  forbid_core_files();
  occupy_standard_descriptors();
  // A reader of progress lines that goes away must not end a training.
  std::signal(SIGPIPE, SIG_IGN);
  end_on_signals();
  CLI::App app(
      "Trains and runs neural networks on secret-shared data.\nExit codes: 0 done, 2 config, 3 "
      "peer-lost, 4 timeout, 5 pool-dry, 6 pool-corrupt, 7 roster-mismatch,\n8 "
      "protocol-mismatch, 9 out-of-memory, 10 io, 11 no-space, 12 pool-busy, 13 domain, 14 "
      "cancelled, 15 pool-rolled-back, 16 device-failed, 17 checkpoint-corrupt,\n18 "
      "checkpoint-mismatch.");
  app.set_version_flag("--version", std::string("beaverpond ") + BEAVERPOND_VERSION);
  app.require_subcommand(1);
  KeygenOptions keygen;
  EpochOptions epoch;
  PoolImportOptions pool;
  PlanOptions plan;
  EmulateCommand emulate;
  LaunchFlags flags;
  TrainCommand train;
  InferCommand infer;
  DoctorCommand doctor;
  LaunchCommand launch;
  SynthesizeCommand synthesize;
  add_keygen(app, keygen);
  add_epoch(app, epoch);
  add_pool(app, pool);
  add_plan(app, plan);
  add_emulate(app, emulate);
  add_train(app, flags, train);
  add_infer(app, flags, infer);
  add_doctor(app, flags, doctor);
  add_launch(app, launch);
  add_synthesize(app, synthesize);
  if (argc > 1 && !is_command(app, argv[1])) return static_cast<int>(ErrorCode::kConfig);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : static_cast<int>(ErrorCode::kConfig);
  }
  const std::string name = app.get_subcommands().front()->get_name();
  launch.arguments = app.get_subcommands().front()->remaining();
  Result<void> result;
  if (name == "keygen") result = run_keygen(keygen);
  if (name == "epoch") result = run_epoch(epoch);
  if (name == "pool") result = run_pool_import(pool);
  if (name == "plan") result = run_plan(plan);
  if (name == "emulate") result = run_emulate(emulate);
  if (name == "train") result = settle(flags, train.player);
  if (name == "train" && result.ok()) result = run_train(train);
  if (name == "infer") result = settle(flags, infer.player);
  if (name == "infer" && result.ok()) result = run_infer(infer);
  doctor.version = BEAVERPOND_VERSION;
  if (name == "doctor") result = run_doctor(doctor, flags);
  if (name == "launch") result = run_launch(launch);
  if (name == "synthesize") result = run_synthesize(synthesize);
  if (result.ok()) result = flush_output();
  if (result.ok()) return 0;
  std::fprintf(stderr, "beaverpond: %s\n", describe(result.error()).c_str());
  return static_cast<int>(result.error().code);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr,
                 "beaverpond: out-of-memory: not enough memory; use a smaller batch or model, or "
                 "give the process more\n");
    return static_cast<int>(ErrorCode::kOutOfMemory);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "beaverpond: io: %s\n", failure.what());
    return static_cast<int>(ErrorCode::kIo);
  }
}
