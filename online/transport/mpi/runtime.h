// MPI itself: started once in a process, ended at most once, by one thread.
#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "beaverpond/result.h"
#include "online/transport/transport.h"

namespace beaverpond::mpi {

/// All calls of MPI but the first and the last are made under this.
std::mutex& calls();

/// Whether mpirun or srun started this process, as `rank` of `size`; without, MPI would start by
/// itself, or end the process. Errors: kConfig.
Result<void> check_started_by_launcher(int rank, int size);

/// MPI_Init_thread on a thread of its own, which then waits for the end. Errors: kConfig (again in
/// this process, no threads), kIo, kTimeout, what `lost` gives.
Result<void> start_blocking(Deadline deadline, const std::function<std::optional<Error>()>& lost);

/// MPI_Finalize on that thread. False if it has not returned by `deadline`, or `lost` said for
/// `grace` that a player is gone: then it is left behind in its thread, which ends with the
/// process.
bool finalize_blocking(Deadline deadline, const std::function<bool()>& lost,
                       std::chrono::milliseconds grace);

/// MPI's own words for a status.
std::string text_of(int status);

}  // namespace beaverpond::mpi
