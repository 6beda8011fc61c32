// A factory and players that pull from it, as the real programs on this host.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "offline/plan/plan.h"
#include "offline/plan/roster.h"
#include "offline/pool/layout.h"
#include "offline/pool/posix_storage.h"

namespace beaverpond {

/// A program whose standard output is read line by line. The destructor kills it.
class Child {
 public:
  /// Standard error stays the caller's. Errors: kIo.
  static Result<std::unique_ptr<Child>> start(const std::vector<std::string>& arguments);
  ~Child();
  Child(const Child&) = delete;             // owns the process
  Child& operator=(const Child&) = delete;  // owns the process

  int output() const { return output_; }  ///< to poll for reading
  /// Whole lines that came since the last call; waits only where nothing came at all. Errors: kIo
  /// (the program ended).
  Result<std::vector<std::string>> read_lines_blocking();
  double cpu_seconds() const;  ///< user and system, of a program that runs
  /// The exit code of a program that ends by itself.
  int wait_blocking();

 private:
  Child(pid_t pid, int output) : pid_(pid), output_(output) {}
  pid_t pid_;
  int output_;
  std::string rest_;
};

/// How far all players together have got.
struct Delivered {
  std::chrono::steady_clock::time_point when;
  std::uint64_t bundles = 0;  ///< published by every player
  double factory_cpu_seconds = 0;
  double players_cpu_seconds = 0;  ///< of all of them
};

struct DeliverySiteOptions {
  std::string root;  ///< an empty folder on a disk
  int players = 3;
  int threads = 1;  ///< that deal
  std::uint64_t segment_bundles = 0;
  std::uint64_t ahead_bundles = 0;  ///< made and not yet spent, at most
};

/// `triple-factory serve` with a delivery, and a `triple-factory pull` a player. What all have
/// published is spent at once, by the players' ledgers alone: the segments stay for verify().
class DeliverySite {
 public:
  /// Makes keys, rosters and configuration, and starts the programs. Errors: kIo, and those of the
  /// programs.
  static Result<std::unique_ptr<DeliverySite>> start(const DeliverySiteOptions& options,
                                                     const Plan& plan);

  /// Waits until all players hold more than before. Errors: kIo (a program ended), kTimeout.
  Result<Delivered> wait_for_more(std::chrono::steady_clock::time_point deadline);
  /// Ends the programs.
  void stop();
  /// After stop(): authenticates every chunk of every segment that all players hold; how many
  /// bundles those are. Errors: kPoolCorrupt and others of check_segment().
  Result<std::uint64_t> verify();

 private:
  DeliverySite(DeliverySiteOptions options, const Plan& plan);
  Result<void> prepare(const Plan& plan);
  Result<void> start_programs();
  Result<void> write_rosters() const;
  void take(std::size_t player, const std::vector<std::string>& lines);
  Result<void> spend(std::uint64_t end);
  std::string home(std::size_t player) const;
  std::string factory_home() const { return options_.root + "/dealer"; }

  DeliverySiteOptions options_;
  LaneKey key_;
  Roster roster_;
  PosixStorage storage_;
  std::unique_ptr<Child> factory_;
  std::vector<std::unique_ptr<Child>> pulls_;
  std::vector<std::uint64_t> published_;  // end of the last range, by player
  std::uint64_t spent_ = 0;
};

}  // namespace beaverpond
