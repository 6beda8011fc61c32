// A stand-in for NCCL: the calls that the transport makes, among ranks that are threads of this
// process, over host memory. It behaves as a non-blocking communicator does, checks how it is used,
// and fails on request. It says nothing about NCCL's speed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "online/transport/nccl/abi.h"

namespace beaverpond::fake_nccl {

const nccl::Api& api();

/// What goes wrong, from now on, in communicators that are made later.
struct Faults {
  /// Polls for which a call stays in progress.
  int polls = 3;
  int version = 22809;
  bool ranks_may_share_a_gpu = false;
};
void configure(const Faults& faults);

inline constexpr int kInit = -1;

/// Rank `rank`'s call number `call` (kInit, or counted from 0; the transport's own first sum is
/// call 0) ends in `status`, and its part of the work is never done.
void fail(int rank, int call, nccl::Status status);
/// The call looks as if it were made, but the rank's part never comes.
void never_arrive(int rank, int call);
/// The sum of this call comes out one too high on that rank.
void miscount(int rank, int call);
/// The rank's aborts do not return until release_aborts().
void hang_aborts(int rank);
void release_aborts();
/// Forgets all of the above and what misuse() has noted.
void reset();

/// Uses of the interface that NCCL forbids, as text.
std::vector<std::string> misuse();
/// Communicators that were neither destroyed nor aborted.
int live_communicators();
/// How often each was called since reset(); calls(): of any that moves data.
int calls();
int aborts();
int destroys();

}  // namespace beaverpond::fake_nccl
