// The engine: executes a Program on shares, spending one bundle a run.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "beaverpond/bundle.h"
#include "beaverpond/program.h"
#include "beaverpond/result.h"
#include "kernels/backend.h"
#include "offline/plan/plan.h"
#include "online/protocol/profile.h"
#include "online/session/pair_keys.h"
#include "online/transport/transport.h"

namespace beaverpond {

struct EngineOptions {
  std::uint64_t session = 0;  ///< nonce all players agreed on; part of every tag
  std::uint32_t lane = 0;
  std::uint64_t epoch = 0;  ///< membership epoch, for error messages
  std::uint32_t round_timeout_ms = 30000;
  bool profile = false;  ///< keep an EngineProfile; costs two clock readings an operation and round
};

/// What one run consumes besides its bundle. Host memory, free again when the run returns.
struct RunInputs {
  /// By input slot: this player's rows as ring words where it is the owner, else empty.
  std::vector<ConstWords> inputs;
  /// m of every kUpdate: state := state - m * gradient.
  std::uint64_t step_multiplier = 0;
  /// Public, the same on all players: this run opens none of the program's reveals.
  bool skip_reveals = false;
};

struct EngineStats {
  std::uint64_t rounds = 0;              ///< waits for messages, over all runs
  std::uint64_t opened_words = 0;        ///< arithmetic words opened
  std::uint64_t opened_plane_words = 0;  ///< words of opened bits
};

/// Semi-honest, additive sharing among all players of the transport; N-1 together learn nothing
/// that is not revealed. Memory for all values is allocated once, in create(). One thread.
class Engine {
 public:
  /// `program`, `backend` and `transport` must outlive the engine. `plan` must be the plan of
  /// `program`. All players create their engines at the same time. What travels is copied through
  /// the host where the transport takes host memory and the backend's is another. Errors: kConfig,
  /// kOutOfMemory, kDeviceFailed, kRosterMismatch (plan of another program).
  static Result<std::unique_ptr<Engine>> create(const Program& program, const Plan& plan,
                                                Backend& backend, Transport& transport,
                                                PairKeys keys, const EngineOptions& options);
  virtual ~Engine() = default;

  /// Spends `bundle` (the first member of a series), whose number is above those before it. On an
  /// error no state has changed and the bundle is burned; if a message or the device failed, the
  /// engine refuses to go on, since the players may now be at different steps. Errors: kConfig
  /// (inputs do not fit, an empty or old bundle), kCancelled (the engine failed before), kPeerLost,
  /// kTimeout, kProtocolMismatch, kDeviceFailed, kOutOfMemory; `operation` names the layers that
  /// were in progress.
  virtual Result<void> run(Bundle bundle, const RunInputs& inputs) = 0;

  /// The next member of a series: takes the same bundle, the masks of fixed values and all that
  /// depends on them alone as the first run() left them. `inputs` of fixed slots are not read.
  /// Errors: as run(), and kConfig when members_left() is 0.
  virtual Result<void> run_next(const RunInputs& inputs) = 0;
  /// Runs that the current bundle still has. While there are any, fixed states must stay as they
  /// are: their opened differences are kept.
  virtual std::uint32_t members_left() const = 0;

  // States: host words in and out. Errors: kDeviceFailed, kOutOfMemory, here or in a run before.

  /// This player's share of a persistent tensor. Zero at first.
  virtual Result<std::vector<std::uint64_t>> state_share(std::uint32_t slot) = 0;
  /// Sets a state to public words (player 0 holds them, the others zero).
  virtual Result<void> set_public_state(std::uint32_t slot, ConstWords words) = 0;
  /// Sets this player's share of a state, as an earlier session's state_share() gave it.
  virtual Result<void> set_state_share(std::uint32_t slot, ConstWords share) = 0;

  /// What the last run revealed to this player in `slot`; empty if it was no receiver.
  virtual ConstWords revealed(std::uint32_t slot) const = 0;

  /// Opens a state to the players whose bits are set in `receivers`, outside any run. Each share is
  /// re-randomised first. Receivers get the words, the others an empty vector. `serial` must be new
  /// in this session for every call, and equal on all players. Errors: those of messages, and as of
  /// state_share().
  virtual Result<std::vector<std::uint64_t>> reveal_state(std::uint32_t slot,
                                                          std::uint64_t receivers,
                                                          std::uint32_t serial) = 0;

  virtual const EngineStats& stats() const = 0;
  /// Over all runs so far; empty unless EngineOptions::profile.
  virtual const EngineProfile& profile() const = 0;
};

}  // namespace beaverpond
