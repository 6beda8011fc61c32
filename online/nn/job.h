// The job file: what to train, on whose data, and what may be revealed. TOML, described field by
// field in online/nn/README.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "beaverpond/protocol.h"
#include "beaverpond/result.h"
#include "beaverpond/seed.h"
#include "beaverpond/units.h"
#include "online/session/network_config.h"

namespace beaverpond {

struct FixedPoint {
  int fraction_bits = 16;      ///< f: a value holds round(x * 2^f)
  int master_extra_bits = 16;  ///< K: master weights are held at scale 2f+K, and 2f+K <= 54

  int master_scale_bits() const { return 2 * fraction_bits + master_extra_bits; }
  /// f+K, what takes a master weight down to the f bits that products use.
  std::uint32_t master_shift() const {
    return static_cast<std::uint32_t>(fraction_bits + master_extra_bits);
  }
};

enum class LayerKind : std::uint8_t { kConv2d, kDense, kRelu, kMaxPool, kAvgPool };

struct LayerConfig {
  LayerKind kind = LayerKind::kDense;
  std::uint32_t units = 0;     ///< dense
  std::uint32_t channels = 0;  ///< conv2d: channels of the result
  std::uint32_t kernel = 0;    ///< conv2d, pools: side of the window
  std::uint32_t stride = 1;
  std::uint32_t pad_before = 0;
  std::uint32_t pad_after = 0;
};

enum class Loss : std::uint8_t {
  kSquaredError,    ///< half the squared distance of the scores from the one-hot label
  kSoftmax,         ///< cross-entropy of the softmax
  kNormalisedRelu,  ///< SecureNN's: gradient relu(u) / sum relu(u) - onehot
};

/// The last layer is dense and its units are the classes. Images are flattened where a dense layer
/// follows them.
struct ModelConfig {
  std::uint32_t height = 0;
  std::uint32_t width = 0;
  std::uint32_t channels = 0;
  std::vector<LayerConfig> layers;
  Loss loss = Loss::kSquaredError;

  std::uint32_t classes() const { return layers.empty() ? 0 : layers.back().units; }
};

/// From step `from_step` on, a step's update is W -= multiplier * (sum of the batch's gradients),
/// gradients at scale 2f, W at 2f+K: a learning rate of multiplier * batch * 2^-K on the mean.
struct RateChange {
  std::uint64_t from_step = 0;
  std::uint64_t multiplier = 1;
};

/// SGD: gradients g summed over the batch, V := V - round(V / 2^j) + g, W := W - multiplier * V.
struct OptimiserConfig {
  std::uint32_t momentum_shift = 0;  ///< j, a momentum of 1 - 2^-j; 0: none, V = g
  /// Of the weights, not the biases: g grows by word * 2^-f * W, the batch's weight decay.
  std::uint64_t weight_decay_word = 0;
};

struct TrainingConfig {
  std::uint32_t batch = 0;
  std::uint64_t steps = 0;
  std::vector<RateChange> rates;  ///< ascending, the first from step 0
  OptimiserConfig optimiser;

  std::uint64_t multiplier_of_step(std::uint64_t step) const;
};

struct RowRange {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};

struct DataOwner {
  std::uint32_t player = 0;
  std::string train_images;            ///< or a table with the labels
  std::string train_labels;            ///< empty: a column of the table
  std::optional<RowRange> rows;        ///< of the file; all when unset
  std::vector<std::uint32_t> classes;  ///< only rows with these labels; all when empty
  std::uint32_t rows_per_step = 0;     ///< its part of the batch
};

/// How the numbers of data files are understood; public, and the same for all owners.
struct DataFormat {
  std::string label;                     ///< column of tables that holds the class
  std::vector<std::string> label_names;  ///< texts of the classes; empty: the column holds 0, 1 ..
  std::vector<std::string> features;     ///< columns to use, in this order; empty: all others
  /// A value x is taken as (x - subtract) / divide_by: none, one for all, or one per channel.
  std::vector<double> subtract;
  std::vector<double> divide_by;

  bool scales() const { return !subtract.empty() || !divide_by.empty(); }
};

/// What an answer of inference opens to its receiver.
enum class Answer : std::uint8_t {
  kClass,          ///< index of the largest score, nothing else
  kScores,         ///< all scores before the softmax
  kProbabilities,  ///< their softmax
};

/// What the players open. Unset means not opened.
struct RevealConfig {
  std::uint64_t loss_every = 0;            ///< 0: never
  std::vector<std::uint32_t> weights;      ///< players that learn the trained weights
  std::vector<std::uint32_t> predictions;  ///< players that may learn the answers of inference
  Answer answer = Answer::kClass;          ///< what an answer tells
  /// Opens the trained weights to all players, so that they can be compared with the twin's.
  bool verify = false;
};

struct PoolConfig {
  std::uint64_t low = 64;    ///< bundles below which the factory refills
  std::uint64_t high = 256;  ///< bundles at which it stops
  std::uint64_t lease_steps = 16;
  /// A pool that was put back to an earlier state stops the run instead of burning bundles. One
  /// player that refuses is enough.
  bool refuses_rollback = false;
  ByteCount disk_budget{std::uint64_t{4} << 30};
  PrgKind prg = PrgKind::kAes128Ctr;  ///< what expands the seeds of a bundle, everywhere
};

/// What each player keeps while it trains, so that a lost player can come back.
struct CheckpointConfig {
  std::uint64_t every = 0;          ///< steps; 0: no checkpoints
  std::string dir = "checkpoints";  ///< in the player's home; absolute: of all players of a host
  /// How long survivors wait for a lost player; 0: a loss ends the run.
  std::uint64_t rejoin_seconds = 0;
};

struct Job {
  std::string file;
  std::string name;
  std::uint64_t seed = 0;
  std::uint32_t players = 0;
  Protocol protocol = Protocol::kAdditive;  ///< SecureNN's are for three players
  FixedPoint fixed_point;
  ModelConfig model;
  TrainingConfig training;
  DataFormat data;
  std::vector<DataOwner> owners;  ///< ascending by player
  std::string test_images;        ///< empty: no test set
  std::string test_labels;        ///< empty: a column of the table test_images
  RevealConfig reveal;
  PoolConfig pool;
  NetworkConfig network;
  CheckpointConfig checkpoint;
  std::vector<std::string> notes;  ///< what was rounded or chosen, for the user to read
};

/// Errors: kIo when the file cannot be read, kConfig for everything in it, with file, line, field
/// and remedy. Relative paths are taken from the job file's folder.
Result<Job> read_job(const std::string& path);

/// The same for text in memory; `file` is for messages and relative paths.
Result<Job> parse_job(const std::string& text, const std::string& file);

}  // namespace beaverpond
