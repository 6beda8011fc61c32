// Players of one host as real processes: homes, pools, a job and the programs that use them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "online/nn/job.h"
#include "tests/online/cli/process.h"

namespace beaverpond::testing {

inline const char* const kDataFolder = "/usr/share/datasets/fashion-mnist";

/// A job for a dense net of one small hidden layer; all players learn the weights.
struct JobText {
  int players = 3;
  std::uint64_t steps = 16;
  std::uint64_t seed = 5;
  std::string protocol = "additive";
  std::string layers =
      "[[layer]]\nkind = \"dense\"\nunits = 6\n[[layer]]\nkind = \"relu\"\n"
      "[[layer]]\nkind = \"dense\"\nunits = 10\n";
  std::string reveal = "weights = [\"player0\", \"player1\", \"player2\"]";
  std::string images = std::string(kDataFolder) + "/t10k-images-idx3-ubyte.gz";
  std::string training;  ///< more lines of [training]
  std::string pool = "lease_steps = 16";
  std::string profile = "lan";
  std::string network = "pool_timeout_ms = 1000";
  std::string extra;

  std::string str() const;
};

/// A temporary folder of its own, with one home per player. Gone with the object.
class Cluster {
 public:
  explicit Cluster(int players);
  ~Cluster();
  Cluster(const Cluster&) = delete;             // owns its folder
  Cluster& operator=(const Cluster&) = delete;  // owns its folder

  const std::string& folder() const { return folder_; }
  int players() const { return players_; }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string home(int player) const { return path("player" + std::to_string(player)); }

  /// Writes a job file and returns its path.
  std::string write_job(const std::string& name, const JobText& text) const;

  /// `beaverpond ARGUMENTS`, to the end.
  Outcome beaverpond(const std::vector<std::string>& arguments,
                     std::chrono::milliseconds limit = std::chrono::seconds(20)) const;
  /// `triple-factory make` for all pools. Returns its outcome.
  Outcome make_bundles(const std::string& plan, int bundles, int segment_bundles = 64) const;
  std::vector<std::string> factory_arguments(const std::string& command,
                                             const std::string& plan) const;

  /// `triple-factory serve` for all pools, with the marks given; output goes to factory.out, .err.
  Process start_factory(const std::string& plan, int low, int high, int segment_bundles) const;

  /// All players at once, each with a listening descriptor and "--peers"; `arguments` gives the
  /// program and what differs by player. Output goes to NAME.out and NAME.err in the homes.
  template <class ArgumentsOfPlayer>
  std::vector<Process> start_players(const std::string& name, ArgumentsOfPlayer&& arguments) const {
    std::vector<Process> started;
    const Listeners listeners = listen();
    for (int player = 0; player < players_; ++player) {
      started.push_back(start_player(name, player, arguments(player), listeners));
    }
    close(listeners);
    return started;
  }
  std::string out_path(const std::string& name, int player) const {
    return home(player) + "/" + name + ".out";
  }
  std::string err_path(const std::string& name, int player) const {
    return home(player) + "/" + name + ".err";
  }

  /// Where players listen; kept open, a player that is started again is found at its old place.
  struct Listeners {
    std::vector<int> descriptors;
    std::vector<std::uint16_t> ports;
    std::string peers;
  };
  Listeners listen() const;
  static void close(const Listeners& listeners);
  Process start_player(const std::string& name, int player, std::vector<std::string> arguments,
                       const Listeners& listeners) const;

 private:
  int players_;
  std::string folder_;
};

}  // namespace beaverpond::testing
