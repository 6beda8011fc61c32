// One player of the MPI rows of beaverpond-open-bench, under mpirun:
//   open_mpi_player FOLDER quick|full
// Ours and MPI_Allreduce in turn; player 0 writes FOLDER/result.
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "bench/online/open_case.h"
#include "bench/report/report.h"
#include "online/session/identity.h"
#include "online/transport/mpi_module.h"
#include "online/transport/tls.h"

namespace beaverpond {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Deadline in_60_s() {
  return Clock::now() + std::chrono::seconds(60);
}

Result<TlsOptions> tls_options(const std::string& folder, int rank) {
  TlsOptions options;
  options.rank = rank;
  const Home home{folder + "/player" + std::to_string(rank)};
  BP_ASSIGN(const Roster roster, read_roster_file(home.roster_path()));
  std::ifstream ports(folder + "/ports");
  for (const RosterPlayer& player : roster.players) {
    std::uint16_t port = 0;
    ports >> port;
    options.players.push_back({player.name, "127.0.0.1", port, player.certificate});
  }
  options.roster_hash = roster_hash(roster);
  options.key_path = home.key_path();
  options.certificate_path = home.certificate_path();
  return options;
}

/// The slowest player's time, median of all repetitions.
double of_slowest(std::vector<double> seconds) {
  MPI_Allreduce(MPI_IN_PLACE, seconds.data(), static_cast<int>(seconds.size()), MPI_DOUBLE, MPI_MAX,
                MPI_COMM_WORLD);
  return median(seconds);
}

Result<void> run(const std::string& folder, bool quick) {
  const int rank = std::atoi(std::getenv("OMPI_COMM_WORLD_RANK"));
  BP_ASSIGN(const MpiModule* const module, load_mpi_module());
  BP_ASSIGN(const TlsOptions tls, tls_options(folder, rank));
  BP_ASSIGN(const TlsConnected connected, connect_tls_blocking(tls));
  MpiOptions options;
  options.trusted_fabric = true;
  BP_ASSIGN(const std::unique_ptr<Transport> transport,
            module->connect(*connected.transport, options, in_60_s()));
  std::ofstream result;
  if (rank == 0) result.open(folder + "/result");
  for (const OpenCase& test : open_cases(quick, transport->size())) {
    std::vector<std::uint64_t> words(test.bytes / 8);
    std::vector<double> ours, theirs;
    std::uint64_t wrong = 0;
    for (std::uint32_t i = 0; i < test.warm_up + test.timed; ++i) {
      fill_open_words(rank, words);
      MPI_Barrier(MPI_COMM_WORLD);
      Clock::time_point start = Clock::now();
      MPI_Allreduce(MPI_IN_PLACE, words.data(), static_cast<int>(words.size()), MPI_UINT64_T,
                    MPI_SUM, MPI_COMM_WORLD);
      const double plain = seconds_since(start);
      fill_open_words(rank, words);
      MPI_Barrier(MPI_COMM_WORLD);
      start = Clock::now();
      BP_TRY(transport->all_reduce_blocking(words, ReduceOp::kSum, {.bundle = i}, in_60_s()));
      const double own = seconds_since(start);
      wrong += count_wrong(words, transport->size());
      if (i < test.warm_up) continue;
      ours.push_back(own);
      theirs.push_back(plain);
    }
    MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    const double own = of_slowest(ours), plain = of_slowest(theirs);
    if (rank == 0) result << test.name << " " << own << " " << plain << " " << wrong << "\n";
  }
  return {};
}

}  // namespace
}  // namespace beaverpond

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto result = beaverpond::run(argv[1], std::string(argv[2]) == "quick");
  if (result.ok()) return 0;
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  return 1;
}
