#include "online/transport/mpi/runtime.h"

#include <mpi.h>
#include <signal.h>

#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <thread>

namespace beaverpond::mpi {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// What the thread and its callers share; the thread may outlive everything else.
struct Shared {
  std::mutex mutex;
  std::condition_variable changed;
  bool begun = false;
  bool started = false;
  int status = MPI_SUCCESS;
  int provided = MPI_THREAD_SINGLE;
  bool wanted_end = false;
  bool ended = false;
};

const std::shared_ptr<Shared>& shared() {
  static const auto state = std::make_shared<Shared>();
  return state;
}

/// MPI wants its first and its last call from one thread, and either may hang.
void live(const std::shared_ptr<Shared>& state) {
  int provided = MPI_THREAD_SINGLE;
  int status = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
  if (status == MPI_SUCCESS) status = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (status == MPI_SUCCESS) status = MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
  std::unique_lock lock(state->mutex);
  state->status = status;
  state->provided = provided;
  state->started = true;
  state->changed.notify_all();
  state->changed.wait(lock, [&] { return state->wanted_end; });
  lock.unlock();
  (void)MPI_Finalize();
  lock.lock();
  state->ended = true;
  state->changed.notify_all();
}

/// Signals are for the program's own threads.
Result<void> start_thread(const std::shared_ptr<Shared>& state) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  Result<void> result;
  try {
    std::thread([state] { live(state); }).detach();
  } catch (const std::system_error&) {
    result = make_error(ErrorCode::kIo, "cannot start a thread for MPI; raise `ulimit -u`");
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return result;
}

/// Two variables that must say what the roster says.
Result<void> check_variable(const char* name, int wanted, const char* what) {
  const char* const value = std::getenv(name);
  if (value == nullptr || std::to_string(wanted) == value) return {};
  return make_error(ErrorCode::kConfig, std::string(name) + " is " + value +
                                            ", but this player's " + what + " in the roster is " +
                                            std::to_string(wanted) +
                                            "; start one process for each player, in the order of "
                                            "the roster: mpirun -n N beaverpond .. --homes DIR");
}

}  // namespace

std::mutex& calls() {
  static std::mutex mutex;
  return mutex;
}

Result<void> check_started_by_launcher(int rank, int size) {
  const auto set = [](const char* name) { return std::getenv(name) != nullptr; };
  if (!set("OMPI_COMM_WORLD_RANK") && !set("PMIX_RANK") && !set("PMI_RANK")) {
    return make_error(ErrorCode::kConfig,
                      "--transport mpi needs players that mpirun or srun started: mpirun -n " +
                          std::to_string(size) +
                          " beaverpond train .. --transport mpi (or srun --mpi=pmix), or use "
                          "--transport tls");
  }
  BP_TRY(check_variable("OMPI_COMM_WORLD_SIZE", size, "number of players"));
  BP_TRY(check_variable("OMPI_COMM_WORLD_RANK", rank, "rank"));
  return {};
}

Result<void> start_blocking(Deadline deadline, const std::function<std::optional<Error>()>& lost) {
  const std::shared_ptr<Shared> state = shared();
  std::unique_lock lock(state->mutex);
  if (state->begun) {
    return make_error(ErrorCode::kConfig,
                      "MPI was started in this process before, and can be started once only; run "
                      "the second job in a new process, or use --transport tls");
  }
  state->begun = true;
  BP_TRY(start_thread(state));
  while (!state->started) {
    state->changed.wait_for(lock, milliseconds(50));
    if (state->started) break;
    if (std::optional<Error> error = lost()) return *error;
    if (Clock::now() < deadline) continue;
    return make_error(ErrorCode::kTimeout,
                      "MPI_Init did not return in time, although all players are connected; look "
                      "at what mpirun says, or use --transport tls");
  }
  if (state->status != MPI_SUCCESS) {
    return make_error(ErrorCode::kIo, "MPI cannot start: " + text_of(state->status));
  }
  if (state->provided >= MPI_THREAD_SERIALIZED) return {};
  return make_error(ErrorCode::kConfig,
                    "this MPI was built without threads; install Debian's Open MPI, or use "
                    "--transport tls");
}

bool finalize_blocking(Deadline deadline, const std::function<bool()>& lost, milliseconds grace) {
  const std::shared_ptr<Shared> state = shared();
  std::unique_lock lock(state->mutex);
  state->wanted_end = true;
  state->changed.notify_all();
  while (!state->ended && Clock::now() < deadline) {
    state->changed.wait_for(lock, milliseconds(20));
    if (!state->ended && lost()) deadline = std::min<Deadline>(deadline, Clock::now() + grace);
  }
  return state->ended;
}

std::string text_of(int status) {
  char text[MPI_MAX_ERROR_STRING + 1] = {};
  int length = 0;
  if (MPI_Error_string(status, text, &length) != MPI_SUCCESS) {
    return "error " + std::to_string(status);
  }
  return text;
}

}  // namespace beaverpond::mpi
