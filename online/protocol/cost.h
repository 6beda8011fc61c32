// What a run of a Program will cost, from Program and Plan alone: the engine's schedule without its
// arithmetic. Bytes and rounds are exact (tests/online/protocol/cost_test.cpp).
#pragma once

#include <cstdint>
#include <vector>

#include "offline/plan/plan.h"
#include "online/protocol/traffic.h"

namespace beaverpond {

struct OpCost {
  OpTraffic traffic;
  std::vector<std::uint32_t> rounds;  ///< those in which it takes part, from 0, ascending
  std::uint64_t bundle_bytes = 0;     ///< corrections, up to the next multiple of 64 bytes
  /// Of its matrix or convolution product, padding included. The dealer makes one, every player
  /// two of the same size.
  std::uint64_t multiply_adds = 0;
};

struct RoundCost {
  std::uint64_t words = 0;              ///< opened or revealed
  std::uint64_t plane_words = 0;        ///< of opened bits
  std::vector<std::uint64_t> openings;  ///< words of each that begins by itself; reveals are none
};

struct RunCost {
  std::vector<OpCost> ops;                  ///< by operation; nothing where a series keeps it
  std::vector<RoundCost> rounds;            ///< the last one is that of the reveals, if any
  std::vector<std::uint64_t> layer_rounds;  ///< by layer of program_layers()
  std::vector<std::uint32_t> op_of_entry;   ///< by plan entry: a mask is its first user's; of
                                            ///< what a series keeps, 2^32 - 1
  std::uint64_t sent_bytes = 0;             ///< under SecureNN: by the player, headers included
};

struct RunCostOptions {
  std::uint32_t member = 0;   ///< of a series: the first one, or any later
  bool skip_reveals = false;  ///< as RunInputs
  int rank = 0;               ///< whose, under SecureNN; otherwise it is everybody's
};

/// `plan` must be the plan of `program`; options.member < program.members. Of a plan of another
/// protocol than the additive one only what lies in the bundle is known: no rounds, no traffic
/// (online/securenn/cost.h has those).
RunCost run_cost(const Program& program, const Plan& plan, const RunCostOptions& options);

/// Fills layer_rounds from the operations' rounds.
void count_layer_rounds(const Program& program, RunCost& cost);

/// All bytes that player `rank` of `players` sends in a run, frame headers included, as
/// TransportStats counts them.
std::uint64_t sent_bytes(const Program& program, const RunCost& cost, int players, int rank);

/// How many messages a run among so many players takes one after the other: one a round, or two
/// where an opening is scattered. What a run far apart costs, in times that a message travels.
std::uint64_t message_steps(const RunCost& cost, int players);

/// Multiply-adds of an entry's product; 0 for entries that are none.
std::uint64_t multiply_adds(const PlanEntry& entry);

}  // namespace beaverpond
