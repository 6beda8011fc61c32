#include "bench/online/processes.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "bench/relay/relay.h"
#include "bench/report/report.h"
#include "online/session/identity.h"
#include "online/transport/tls.h"

namespace beaverpond {
namespace {

Error io_error(const std::string& what) {
  return make_error(ErrorCode::kIo, what + ": " + std::strerror(errno));
}

class TemporaryFolder {
 public:
  static Result<TemporaryFolder> make() {
    std::error_code failure;
    std::string name = std::filesystem::temp_directory_path(failure) / "beaverpond-bench-XXXXXX";
    if (failure || ::mkdtemp(name.data()) == nullptr) return io_error("cannot make " + name);
    return TemporaryFolder(std::move(name));
  }
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;             // removes the folder
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;  // removes the folder

  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

/// Results that parent and children see.
class SharedResults {
 public:
  static Result<SharedResults> make(std::size_t players) {
    const std::size_t size = players * sizeof(PlayerResult);
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return io_error("cannot share " + std::to_string(size) + " bytes");
    return SharedResults(static_cast<PlayerResult*>(memory), players);
  }
  SharedResults(SharedResults&& other) noexcept
      : results_(std::exchange(other.results_, nullptr)), players_(other.players_) {}
  ~SharedResults() {
    if (results_ != nullptr) ::munmap(results_, players_ * sizeof(PlayerResult));
  }
  SharedResults(const SharedResults&) = delete;             // owns the mapping
  SharedResults& operator=(const SharedResults&) = delete;  // owns the mapping

  PlayerResult& operator[](std::size_t rank) { return results_[rank]; }

 private:
  SharedResults(PlayerResult* memory, std::size_t players) : results_(memory), players_(players) {
    for (std::size_t i = 0; i < players; ++i) ::new (&results_[i]) PlayerResult();
  }
  PlayerResult* results_;
  std::size_t players_;
};

/// The body of one process, from connecting to goodbye.
Result<void> play(const TlsOptions& options, const PlayerBody& body, PlayerResult& result) {
  BP_ASSIGN(const TlsConnected connected, connect_tls_blocking(options));
  Transport& transport = *connected.transport;
  BP_TRY(body(transport, result));
  // Nobody leaves while another still needs it.
  const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const Tag tag{0, ~std::uint64_t{0}, 0, ~std::uint32_t{0}};
  BP_TRY(transport.all_gather_messages_blocking({}, tag, deadline));
  return {};
}

[[noreturn]] void play_and_exit(const TlsOptions& options, const PlayerBody& body,
                                PlayerResult& result) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::prctl(PR_SET_NAME, ("player" + std::to_string(options.rank)).c_str());  // what a profiler shows
  const Result<void> outcome = play(options, body, result);
  if (outcome.ok()) {
    result.finished = true;
  } else {
    std::snprintf(result.error.data(), result.error.size(), "player %d: %s", options.rank,
                  outcome.error().message.c_str());
  }
  ::_exit(outcome.ok() ? 0 : 1);
}

struct Players {
  std::vector<TlsOptions> options;
  std::vector<int> descriptors;
  std::unique_ptr<Relay> relay;  ///< if there is a round trip
};

/// Whoever dials, dials the relay.
Result<void> put_between(Players& players, std::chrono::nanoseconds delay) {
  std::vector<std::uint16_t> targets;
  for (std::size_t dialler = 0; dialler < players.options.size(); ++dialler) {
    for (std::size_t listener = 0; listener < dialler; ++listener) {
      targets.push_back(players.options[listener].players[listener].port);
    }
  }
  RelayOptions options;
  options.delay = delay;
  BP_ASSIGN(players.relay, Relay::listen(targets, options));
  std::size_t route = 0;
  for (std::size_t dialler = 0; dialler < players.options.size(); ++dialler) {
    for (std::size_t listener = 0; listener < dialler; ++listener) {
      players.options[dialler].players[listener].port = players.relay->port(route++);
    }
  }
  return {};
}

Result<Players> prepare(const std::string& folder, int count,
                        std::optional<std::chrono::microseconds> round_trip) {
  BP_ASSIGN(Roster roster, keygen_all(folder, count, 0));
  Players players;
  std::vector<TlsPlayer> addresses;
  for (const RosterPlayer& player : roster.players) {
    BP_ASSIGN(const Listener listener, listen_on("127.0.0.1", 0));
    players.descriptors.push_back(listener.descriptor);
    addresses.push_back({player.name, player.host, listener.port, player.certificate});
  }
  for (int rank = 0; rank < count; ++rank) {
    const Home home{folder + "/player" + std::to_string(rank)};
    TlsOptions options;
    options.rank = rank;
    options.players = addresses;
    options.roster_hash = roster_hash(roster);
    options.key_path = home.key_path();
    options.certificate_path = home.certificate_path();
    options.listen_descriptor = players.descriptors[static_cast<std::size_t>(rank)];
    players.options.push_back(std::move(options));
  }
  if (round_trip.has_value()) BP_TRY(put_between(players, *round_trip / 2));
  return players;
}

}  // namespace

OperationCost CostMeter::lap() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  const OperationCost reading{std::chrono::duration<double>(now).count(), process_cpu_seconds(),
                              transport_.stats().sent_bytes};
  const OperationCost spent{reading.wall_seconds - last_.wall_seconds,
                            reading.cpu_seconds - last_.cpu_seconds,
                            reading.sent_bytes - last_.sent_bytes};
  last_ = reading;
  return spent;
}

Result<std::vector<PlayerResult>> run_processes_blocking(
    int players, const PlayerBody& body, std::optional<std::chrono::microseconds> round_trip) {
  BP_ASSIGN(const TemporaryFolder folder, TemporaryFolder::make());
  BP_ASSIGN(const Players prepared, prepare(folder.path(), players, round_trip));
  BP_ASSIGN(SharedResults shared, SharedResults::make(prepared.options.size()));
  std::fflush(nullptr);
  std::vector<pid_t> children;
  for (std::size_t rank = 0; rank < prepared.options.size(); ++rank) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (std::size_t other = 0; other < prepared.descriptors.size(); ++other) {
        if (other != rank) ::close(prepared.descriptors[other]);
      }
      play_and_exit(prepared.options[rank], body, shared[rank]);
    }
    if (child > 0) children.push_back(child);
  }
  for (const int descriptor : prepared.descriptors) ::close(descriptor);
  if (prepared.relay != nullptr) prepared.relay->start();
  for (const pid_t child : children) {
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  std::vector<PlayerResult> results;
  for (std::size_t rank = 0; rank < prepared.options.size(); ++rank) {
    const PlayerResult& result = shared[rank];
    if (!result.finished) {
      const std::string why = result.error.data();
      return make_error(
          ErrorCode::kPeerLost,
          why.empty() ? "the process of player " + std::to_string(rank) + " ended without a result"
                      : why);
    }
    results.push_back(result);
  }
  return results;
}

}  // namespace beaverpond
