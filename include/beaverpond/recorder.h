// Records a program on secrets: inputs, operations (secret.h), reveals.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "beaverpond/program.h"
#include "beaverpond/result.h"
#include "beaverpond/secret.h"
#include "beaverpond/seed.h"

namespace beaverpond {

/// What one player gives.
struct InputSpec {
  std::string name;         ///< for the values given to a run, and for messages
  std::uint32_t owner = 0;  ///< the player's rank
  Shape shape = {1};        ///< public
  /// Who may learn anything that is computed from it. A reveal to anybody else is an error, on
  /// every player: they all must record the same program before one runs.
  Players may_learn = {};
};

struct RecordedInput {
  std::string name;
  std::uint32_t owner = 0;
  Shape shape;
  std::uint64_t may_learn = 0;  ///< a bit a player
};

struct RecordedReveal {
  std::string name;
  Shape shape;
  std::uint64_t players = 0;  ///< a bit a player
};

/// A finished recording. Inputs and reveals are in the order of the Program's slots.
struct RecordedProgram {
  Program program;
  std::uint32_t players = 0;
  int fraction_bits = 0;
  PrgKind prg = PrgKind::kAes128Ctr;
  std::vector<RecordedInput> inputs;
  std::vector<RecordedReveal> reveals;
};

struct RecorderOptions {
  std::uint32_t players = 2;  ///< 2..64
  /// f, 8..24: a step of 2^-f, products exact below 2^(62 - 2f).
  int fraction_bits = 16;
  /// What expands the seeds of a bundle, on factory and players alike: kAes128Ctr where all are
  /// CPUs with AES instructions, kChaCha20 where GPUs deal or compute. Part of the plan, so players
  /// who chose otherwise refuse each other.
  PrgKind prg = PrgKind::kAes128Ctr;
};

/// One thread. Secrets may outlive their recorder; they record nothing then.
class Recorder {
 public:
  explicit Recorder(const RecorderOptions& options);
  ~Recorder();
  Recorder(const Recorder&) = delete;             // a recording has one owner
  Recorder& operator=(const Recorder&) = delete;  // a recording has one owner

  Secret input(const InputSpec& spec);
  /// Names what follows, for messages: "gradient step 3".
  void set_section(const std::string& name);

  /// Ends the recording. Errors: kConfig, for the first mistake: shapes that do not fit, secrets of
  /// two recorders, a reveal that an input does not allow, a name that is given twice, nothing
  /// revealed. `operation` is the function or operator that made it.
  Result<RecordedProgram> finish();

 private:
  std::shared_ptr<Recording> recording_;
};

}  // namespace beaverpond
