// Every run of the lease protocol that a few players can have: a search through all states, with a
// crash, a lost connection or a restored disk possible at every step. What is leased is decided by
// the product's own decide_lease().
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace beaverpond::testing {

/// Mistakes of a protocol that the search must find.
enum class ModelMutant {
  kNone,
  kSendBeforeSync,       ///< DURABLE is sent before the watermark is on the disk
  kNobodyIsAsked,        ///< a player starts at its own watermark, whatever the others say
  kDurableIsNotAwaited,  ///< a player spends once it is durable itself
  kNoOwner,              ///< any two live players may spend a lane
  kNobodyRemembers,      ///< live sets without anyone who saw all that was spent
};

struct ModelOptions {
  int players = 2;
  int sessions = 3;   ///< at most, one after the other or side by side
  int rollbacks = 1;  ///< disks put back to an earlier state
  /// Any disk at any time; otherwise only while another player knows all that is or may be spent,
  /// and with such a player in every later session.
  bool any_rollback = false;
  ModelMutant mutant = ModelMutant::kNone;
};

struct ModelResult {
  std::uint64_t states = 0;
  std::uint64_t transitions = 0;
  std::uint64_t spending_states = 0;  ///< states in which something was just spent
  bool complete = false;              ///< all states were seen
  std::string violation;              ///< the steps that open a bundle twice; empty: there are none
};

/// Stops at the first violation, or after `limit` states.
ModelResult search_lease_model(const ModelOptions& options, std::uint64_t limit);

}  // namespace beaverpond::testing
