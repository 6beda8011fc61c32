// Runs a recorded program: in plaintext to try it, or as one player among others.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "beaverpond/recorder.h"
#include "beaverpond/result.h"

namespace beaverpond {

/// Tensors by name, row-major.
using NamedValues = std::map<std::string, std::vector<double>>;

/// All reveals, computed in the clear on everybody's inputs, bit for bit as the players would.
/// Errors: kConfig (inputs that are missing, unknown or of another size, NaN), kDomain (a value too
/// large for the fixed point; names section and operation).
Result<NamedValues> run_in_plaintext(const RecordedProgram& program, const NamedValues& inputs);

/// Writes what `triple-factory make --plan` takes: one bundle is one run. Errors: kConfig, kIo,
/// kNoSpace.
Result<void> save_plan(const RecordedProgram& program, const std::string& path);

/// For main() of a program that holds keys and shares, before anything else: a crash leaves no core
/// file, other processes of the user cannot look in, and closed standard streams stay closed.
void protect_process();

struct RunOptions {
  std::string home;  ///< of `beaverpond keygen`: key, certificate, roster, pool
  /// A descriptor that already listens for this player, or -1 to bind the roster's port.
  int listen_descriptor = -1;
  std::vector<std::string> peers = {};  ///< host:port by rank; empty: the roster's
  std::uint32_t lane = 0;               ///< of the pool
  /// What computes: "cpu", "cuda", "cuda:1", or "auto", a GPU if there is one.
  std::string device = "auto";
  /// What carries openings, on all players alike: "tls", or "nccl" between GPUs where the roster
  /// trusts the fabric.
  std::string transport = "tls";
  std::uint32_t connect_timeout_ms = 30000;
  std::uint32_t pool_timeout_ms = 60000;   ///< how long to wait for a factory
  std::uint32_t round_timeout_ms = 30000;  ///< how long a slower player may take for one round
  /// Lines for the person who waits.
  std::function<void(const std::string&)> on_notice = {};
};

struct RunReport {
  int rank = 0;
  NamedValues revealed;  ///< what this player learns, nothing else
  double seconds = 0;    ///< of the run, after connecting
  std::uint64_t rounds = 0;
  std::uint64_t bytes_sent = 0;
};

/// Rank of the player that the home belongs to. Errors: kConfig, kRosterMismatch.
Result<int> rank_of_home(const std::string& home);

/// One player's part; all players call it with the same program, each with its own inputs and no
/// others. Spends one bundle. The private run cannot see a value that leaves the fixed point: try
/// run_in_plaintext() on data of the same size first. Errors: kConfig (inputs, home), kDomain (an
/// input too large), kRosterMismatch (players recorded different programs), kPeerLost, kTimeout,
/// kPoolDry, kPoolBusy, kPoolCorrupt, kProtocolMismatch, kIo, kOutOfMemory, kDeviceFailed; once
/// connecting, each with the membership epoch, what was going on ("connect", "lease", an operation
/// of the protocol ..) and, where one is known, the player. A failure ends nothing but this run: its
/// bundle is burned, and the process may call again.
Result<RunReport> run_player_blocking(const RecordedProgram& program, const NamedValues& inputs,
                                      const RunOptions& options);

}  // namespace beaverpond
