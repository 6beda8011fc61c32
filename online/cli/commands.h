// The commands of the program `beaverpond`, apart from their flags (main.cpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "online/player/launch_place.h"
#include "online/player/player.h"

namespace beaverpond {

struct KeygenOptions {
  int all = 0;  ///< players of one host, in base/player0 ..
  std::string base;
  std::string home;  ///< or one player's home
  std::string name;
  std::string host;  ///< where the others reach it; prints the roster's entry and nothing else
};
Result<void> run_keygen(const KeygenOptions& options);

struct EpochOptions {
  std::string home;
  std::uint64_t to = 0;
};
/// Moves roster and pool of a home to a later membership epoch and empties the pool. May be run
/// again. Errors: those of start_epoch_blocking() and write_roster_file().
Result<void> run_epoch(const EpochOptions& options);

struct PoolImportOptions {
  std::string home;
  std::vector<std::string> files;  ///< segments, and folders of segments
};
/// Publishes segments that were carried here into the home's pool, each verified whole. The engine
/// may run; a factory on this host may not. Errors: those of deliver_segment_blocking().
Result<void> run_pool_import(const PoolImportOptions& options);

struct PlanOptions {
  std::string job;
  std::string output;  ///< empty: print only
  bool inference = false;
  std::uint32_t batch = 128;  ///< of inference
  std::uint32_t weights_owner = 0;
  bool shared_weights = false;  ///< nobody owns the weights: they are shares that training kept
  std::uint32_t asker = 0;
  std::uint32_t series = 1;  ///< batches of one bundle
  std::uint32_t player = 0;  ///< whose bytes are shown
  bool full = false;         ///< a line per operation instead of one per layer
  bool json = false;
  std::vector<std::string> dealing;  ///< what `triple-factory profile --json` wrote, of each plan
};
Result<void> run_plan(const PlanOptions& options);

/// What a run shows of its costs when it is done.
struct ProfileFlags {
  bool profile = false;              ///< print what every layer cost
  bool full = false;                 ///< or every operation
  std::vector<std::string> dealing;  ///< what `triple-factory profile --json` wrote, of each plan
};

struct EmulateCommand {
  std::string job;
  bool use_float = false;
  std::optional<std::uint32_t> alone;
  std::string weights;  ///< evaluate these instead of training
  std::string weights_out;
  bool json = false;
};
Result<void> run_emulate(const EmulateCommand& options);

struct TrainCommand {
  std::string job;
  PlayerOptions player;
  std::string weights_out;
  std::string shares_out;  ///< this player's shares of the weights; relative to its home
  std::string report;      ///< file that receives the last JSON line
  bool json = false;
  ProfileFlags profile;
  bool resume = false;                            ///< go on from the checkpoints of a run
  std::optional<std::uint64_t> checkpoint_every;  ///< instead of the job's
  std::optional<std::uint64_t> rejoin_seconds;    ///< instead of the job's
};
Result<void> run_train(const TrainCommand& options);

struct InferCommand {
  std::string job;
  PlayerOptions player;
  std::string weights;  ///< read by the weights' owner only
  std::string shares;   ///< or each player's shares of them; relative to its home
  std::string images;   ///< read by the asker only
  std::string labels;   ///< optional, for its accuracy
  std::uint32_t weights_owner = 0;
  std::uint32_t asker = 0;
  std::uint32_t batch = 128;
  std::uint32_t series = 1;  ///< batches of one bundle
  std::uint32_t count = 0;   ///< images to classify; public
  std::string predictions_out;
  std::string report;
  bool json = false;
  ProfileFlags profile;
};
Result<void> run_infer(const InferCommand& options);

struct DoctorCommand {
  std::string job;       ///< empty: what a job needs is not looked at
  PlayerOptions player;  ///< of it: lane, device, transport, listening descriptor
  bool local = false;    ///< nothing of the other players
  bool json = false;
  std::optional<std::uint32_t> timeout_seconds;  ///< to connect; unset: the job's
  std::string version;
};
/// Looks at this player and, with the same command running on all of them, at the others; prints a
/// line for each thing found. Errors: the code of the first that failed, and what keeps it from
/// looking at all.
Result<void> run_doctor(const DoctorCommand& options, const LaunchFlags& flags);

struct LaunchCommand {
  std::string homes;                   ///< folder with player0, player1 ..
  std::vector<std::string> arguments;  ///< "train JOB ...", given to every player
  std::string report;
  bool one_gpu_each = false;  ///< player i gets --device cuda:i
  /// How often each player that a signal killed is started again, with --resume; the others wait
  /// for it (--rejoin). Of a training with checkpoints.
  std::uint32_t restarts = 0;
};
/// Returns when all players have ended. The error is that of the first player that failed.
Result<void> run_launch(const LaunchCommand& options);

struct SynthesizeCommand {
  std::uint64_t images = 0;                  ///< for training
  std::optional<std::uint64_t> test_images;  ///< unset: a sixth of them
  std::string shape = "28x28x1";             ///< height x width x channels
  std::uint32_t classes = 10;
  std::uint64_t seed = 1;  ///< of the data set, which is public
  std::string folder;
  std::string device = "auto";  ///< a name of kernels/synthetic/source.h
};
/// Writes a data set that is made up: files of images and labels, for training and for testing, of
/// a folder that has none of them yet. The same options give the same bytes everywhere. Errors:
/// kConfig, kIo, kNoSpace, and those of the generator.
Result<void> run_synthesize(const SynthesizeCommand& options);

/// "error: message", with its player and operation, for a person.
std::string describe(const Error& error);

}  // namespace beaverpond
