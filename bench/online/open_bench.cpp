// Openings: all-reduce with a sum over 64-bit words, in nccl-tests' manner. Every opening is
// compared word by word (#wrong) after its time was taken. What the same bytes cost over plain TCP,
// and over MPI_Allreduce, is measured in the same run, in turn with ours.
//
//   beaverpond-open-bench [--json FILE] [--only NAME] [--quick]
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "bench/online/open_case.h"
#include "bench/online/processes.h"
#include "bench/online/raw_tcp.h"
#include "bench/report/report.h"
#include "online/session/identity.h"
#include "online/transport/aead.h"
#include "online/transport/local.h"
#include "online/transport/reduce.h"
#include "online/transport/send_buffer.h"
#include "online/transport/tls.h"

namespace beaverpond {
namespace {

using Clock = std::chrono::steady_clock;

/// What one case took, and how many words came out wrong.
struct Timing {
  double seconds = 0;
  std::size_t wrong = 0;
};

Deadline in_60_s() {
  return Clock::now() + std::chrono::seconds(60);
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Bytes a second that a core seals, in full records of zeros.
double seal_rate(RecordAead& aead) {
  constexpr std::size_t kBytes = std::size_t{16} << 10;
  constexpr std::size_t kRecords = 4000;
  const std::vector<std::uint8_t> content(kBytes);
  std::vector<std::uint8_t> sealed(kBytes + 1 + kAeadTagBytes);
  const std::array<std::uint8_t, kAeadNonceBytes> nonce{};
  const std::array<std::uint8_t, 5> header{};
  const double start = process_cpu_seconds();
  for (std::size_t i = 0; i < kRecords; ++i) {
    aead.seal(nonce, header, content, 23, sealed.data());
  }
  return kBytes * kRecords / (process_cpu_seconds() - start);
}

/// One opening of all players, who start together; the time it took here.
Result<double> open_once(Transport& transport, std::vector<std::uint64_t>& words,
                         std::uint32_t number) {
  const Tag meeting{.session = 1, .bundle = number, .operation = 1};
  BP_TRY(transport.all_gather_messages_blocking({}, meeting, in_60_s()));
  const Clock::time_point start = Clock::now();
  const Tag tag{.session = 1, .bundle = number, .operation = 2};
  BP_TRY(transport.all_reduce_blocking(words, ReduceOp::kSum, tag, in_60_s()));
  return seconds_since(start);
}

void add_row(BenchReport& report, const std::string& name, const OpenCase& test, int players,
             const Timing& timing, std::optional<Reference> reference,
             std::vector<std::pair<std::string, double>> more) {
  if (timing.wrong > 0) {
    return report.fail(name, std::to_string(timing.wrong) + " words are wrong");
  }
  const double algbw = static_cast<double>(test.bytes) / timing.seconds;
  BenchRow row;
  row.name = name;
  row.value = timing.seconds;
  row.unit = "s";
  row.reference = std::move(reference);
  row.extra = {{"bytes", static_cast<double>(test.bytes)},
               {"algbw", algbw},
               {"busbw", algbw * 2 * (players - 1) / players},
               {"wrong", 0}};
  row.extra.insert(row.extra.end(), more.begin(), more.end());
  std::printf("%12zu B %10.1f us  algbw %7.3f GB/s  busbw %7.3f GB/s  #wrong %zu  ", test.bytes,
              timing.seconds * 1e6, algbw / 1e9, algbw * 2 * (players - 1) / players / 1e9,
              timing.wrong);
  report.add(std::move(row));
}

std::string row_name(const OpenCase& test, const char* transport, int players) {
  return "open/" + test.name + "/" + transport + "/n" + std::to_string(players);
}

// ---- Threads ----

Result<Timing> time_local(const OpenCase& test, int players) {
  auto transports = make_local_transports(players);
  std::vector<std::vector<double>> seconds(transports.size());
  std::vector<std::size_t> wrong(transports.size(), 0);
  std::vector<std::optional<Error>> errors(transports.size());
  std::vector<std::thread> threads;
  for (int rank = 0; rank < players; ++rank) {
    threads.emplace_back([&, rank] {
      const auto me = static_cast<std::size_t>(rank);
      std::vector<std::uint64_t> words(test.bytes / 8);
      for (std::uint32_t i = 0; i < test.warm_up + test.timed; ++i) {
        fill_open_words(rank, words);
        const Result<double> took = open_once(*transports[me], words, i);
        if (!took.ok()) {
          errors[me] = took.error();
          return;
        }
        wrong[me] += count_wrong(words, players);
        if (i >= test.warm_up) seconds[me].push_back(*took);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Timing timing;
  std::vector<double> slowest(test.timed, 0);
  for (std::size_t me = 0; me < transports.size(); ++me) {
    if (errors[me].has_value()) return *errors[me];
    timing.wrong += wrong[me];
    for (std::size_t i = 0; i < test.timed; ++i) slowest[i] = std::max(slowest[i], seconds[me][i]);
  }
  timing.seconds = median(slowest);
  return timing;
}

// ---- Processes over TLS, and over plain TCP in turn ----

/// Plain TCP as Linux makes it, and with send buffers like those that players of one host have.
struct RawSockets {
  RawTcp usual;
  RawTcp small;
};

/// The same opening over plain TCP: the exchange, then the sums. Wall clock and CPU of each.
struct RawTiming {
  double exchange = 0, exchange_cpu = 0, sum = 0;
};

Result<RawTiming> open_over_tcp(const RawTcp& raw, int rank, std::vector<std::uint64_t>& words,
                                std::vector<std::vector<std::uint8_t>>& theirs) {
  RawTiming timing;
  const double cpu = process_cpu_seconds();
  const Clock::time_point start = Clock::now();
  BP_TRY(raw.exchange(rank, bytes_of(words), theirs));
  timing.exchange = seconds_since(start);
  timing.exchange_cpu = process_cpu_seconds() - cpu;
  const Clock::time_point exchanged = Clock::now();
  for (std::size_t player = 0; player < theirs.size(); ++player) {
    if (player != static_cast<std::size_t>(rank))
      reduce_into(words, theirs[player], ReduceOp::kSum);
  }
  timing.sum = seconds_since(exchanged);
  return timing;
}

Result<void> play(const OpenCase& test, int players, const RawSockets& raw, Transport& transport,
                  PlayerResult& result) {
  const int rank = transport.rank();
  std::vector<std::uint64_t> words(test.bytes / 8);
  std::vector<std::vector<std::uint8_t>> theirs(static_cast<std::size_t>(players),
                                                std::vector<std::uint8_t>(test.bytes));
  std::size_t wrong = 0;
  for (std::uint32_t i = 0; i < test.warm_up + test.timed; ++i) {
    // All take turns, and start together.
    RawTiming plain[2];
    for (std::uint32_t small = 0; small < 2; ++small) {
      fill_open_words(rank, words);
      const Tag meeting{.session = 2, .bundle = i, .operation = 1 + small};
      BP_TRY(transport.all_gather_messages_blocking({}, meeting, in_60_s()));
      BP_ASSIGN(plain[small],
                open_over_tcp(small == 0 ? raw.usual : raw.small, rank, words, theirs));
      wrong += count_wrong(words, players);
    }
    fill_open_words(rank, words);
    const double cpu = process_cpu_seconds();
    BP_ASSIGN(const double ours, open_once(transport, words, i));
    const double ours_cpu = process_cpu_seconds() - cpu;
    wrong += count_wrong(words, players);
    if (i < test.warm_up) continue;
    result.add({ours, ours_cpu, 0});
    for (const RawTiming& timing : plain) {
      result.add({timing.exchange, timing.exchange_cpu, 0});
      result.add({timing.exchange + timing.sum, 0, 0});
    }
  }
  result.rounds = static_cast<double>(wrong);
  return {};
}

/// Of several ways to do the same, in turn. Seconds of the slowest player, medians.
struct TlsTiming {
  Timing tls;
  double raw_seconds = 0;        ///< the exchange over plain TCP
  double raw_sum_seconds = 0;    ///< with the sums
  double small_seconds = 0;      ///< the exchange, small send buffers
  double small_sum_seconds = 0;  ///< with the sums
  /// Of a player, mean over the players.
  double cpu_seconds = 0;
  double raw_cpu_seconds = 0;
  double small_cpu_seconds = 0;
};

Result<TlsTiming> time_tls(const OpenCase& test, int players) {
  BP_ASSIGN(RawTcp usual, RawTcp::make(players, std::nullopt));
  BP_ASSIGN(RawTcp small, RawTcp::make(players, static_cast<int>(kSmallestSendBuffer)));
  const RawSockets raw{std::move(usual), std::move(small)};
  BP_ASSIGN(const std::vector<PlayerResult> results,
            run_processes_blocking(players, [&](Transport& transport, PlayerResult& result) {
              return play(test, players, raw, transport, result);
            }));
  TlsTiming timing;
  constexpr std::size_t kWays = 5;  // as play() adds them
  std::vector<double> slowest[kWays], cpu[kWays];
  for (std::size_t way = 0; way < kWays; ++way) {
    slowest[way].assign(test.timed, 0);
    cpu[way].assign(test.timed, 0);
  }
  for (const PlayerResult& result : results) {
    timing.tls.wrong += static_cast<std::size_t>(result.rounds);
    for (std::size_t i = 0; i < test.timed * kWays; ++i) {
      double& worst = slowest[i % kWays][i / kWays];
      worst = std::max(worst, result.costs[i].wall_seconds);
      cpu[i % kWays][i / kWays] += result.costs[i].cpu_seconds / players;
    }
  }
  timing.tls.seconds = median(slowest[0]);
  timing.raw_seconds = median(slowest[1]);
  timing.raw_sum_seconds = median(slowest[2]);
  timing.small_seconds = median(slowest[3]);
  timing.small_sum_seconds = median(slowest[4]);
  timing.cpu_seconds = median(cpu[0]);
  timing.raw_cpu_seconds = median(cpu[1]);
  timing.small_cpu_seconds = median(cpu[3]);
  return timing;
}

// ---- Processes under mpirun ----

struct MpiTiming {
  Timing ours;
  double mpi_seconds = 0;
};

/// Every case of so many players, by name. Errors: kConfig where there is no mpirun.
Result<std::map<std::string, MpiTiming>> time_mpi(int players, bool quick) {
#ifdef OPEN_MPI_PLAYER
  std::string folder = std::filesystem::temp_directory_path() / "beaverpond-open-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return make_error(ErrorCode::kIo, "no folder");
  // All on this host, by shared memory; root is what containers have.
  const std::string command =
      std::string("OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout 200 " MPIRUN
                  " --oversubscribe --mca btl self,vader --mca "
                  "btl_vader_backing_directory ") +
      folder + " -n " + std::to_string(players) + " " OPEN_MPI_PLAYER " " + folder +
      (quick ? " quick" : " full") + " >" + folder + "/log 2>&1";
  // The keys and ports are made here, since the players start at once.
  std::ofstream ports(folder + "/ports");
  std::vector<int> descriptors;
  BP_TRY(keygen_all(folder, players, 0));
  for (int player = 0; player < players; ++player) {
    BP_ASSIGN(const Listener listener, listen_on("127.0.0.1", 0));
    descriptors.push_back(listener.descriptor);
    ports << listener.port << "\n";
  }
  ports.close();
  for (const int descriptor : descriptors) ::close(descriptor);
  const int status = std::system(command.c_str());
  std::map<std::string, MpiTiming> timings;
  std::ifstream file(folder + "/result");
  std::string name;
  MpiTiming timing;
  while (file >> name >> timing.ours.seconds >> timing.mpi_seconds >> timing.ours.wrong) {
    timings[name] = timing;
  }
  std::ifstream log(folder + "/log");
  const std::string said((std::istreambuf_iterator<char>(log)), std::istreambuf_iterator<char>());
  std::filesystem::remove_all(folder);
  if (status != 0) return make_error(ErrorCode::kIo, "mpirun failed: " + said);
  return timings;
#else
  (void)players;
  (void)quick;
  return make_error(ErrorCode::kConfig, "built without MPI");
#endif
}

void run_case(BenchReport& report, const BenchOptions& options, const OpenCase& test, int players,
              const std::map<std::string, MpiTiming>& mpi) {
  const auto reference_mpi = mpi.find(test.name);
  std::vector<std::pair<std::string, double>> beside_mpi;
  if (reference_mpi != mpi.end()) {
    beside_mpi = {{"mpi_allreduce_seconds", reference_mpi->second.mpi_seconds}};
  }
  std::string name = row_name(test, "local", players);
  if (options.wants(name)) {
    const Result<Timing> timing = time_local(test, players);
    if (timing.ok()) {
      add_row(report, name, test, players, *timing, std::nullopt, beside_mpi);
    } else {
      report.fail(name, timing.error().message);
    }
  }
  name = row_name(test, "tls", players);
  if (options.wants(name)) {
    const Result<TlsTiming> timing = time_tls(test, players);
    if (timing.ok()) {
      auto more = beside_mpi;
      more.emplace_back("cpu_seconds", timing->cpu_seconds);
      more.emplace_back("plain_tcp_cpu_seconds", timing->raw_cpu_seconds);
      more.emplace_back("plain_tcp_sum_seconds", timing->raw_sum_seconds);
      more.emplace_back("plain_tcp_small_buffer_seconds", timing->small_seconds);
      more.emplace_back("plain_tcp_small_buffer_sum_seconds", timing->small_sum_seconds);
      more.emplace_back("plain_tcp_small_buffer_cpu_seconds", timing->small_cpu_seconds);
      std::printf(
          "CPU of a player %.2f ms, of plain TCP %.2f ms, with small send buffers %.2f ms\n",
          timing->cpu_seconds * 1e3, timing->raw_cpu_seconds * 1e3,
          timing->small_cpu_seconds * 1e3);
      const double ours = timing->tls.seconds;
      std::printf(
          "Ratio to plain TCP %.2f, with the sums %.2f; with small send buffers %.2f, %.2f\n",
          timing->raw_seconds / ours, timing->raw_sum_seconds / ours, timing->small_seconds / ours,
          timing->small_sum_seconds / ours);
      if (reference_mpi != mpi.end()) {
        more.emplace_back("ratio_to_mpi_allreduce",
                          reference_mpi->second.mpi_seconds / timing->tls.seconds);
      }
      add_row(report, name, test, players, timing->tls,
              Reference{"plain TCP, all pairs", "measured", timing->raw_seconds}, more);
    } else {
      report.fail(name, timing.error().message);
    }
  }
  name = row_name(test, "mpi", players);
  if (options.wants(name) && reference_mpi != mpi.end()) {
    add_row(report, name, test, players, reference_mpi->second.ours,
            Reference{"MPI_Allreduce", "measured", reference_mpi->second.mpi_seconds}, {});
  }
}

int run(const BenchOptions& options) {
  BenchReport report;
  const AeadKey key{};
  std::printf("TLS records by %s, %.1f GB/s a core sealed; by OpenSSL %.1f GB/s\n",
              record_aead_name(), seal_rate(*make_record_aead(key)) / 1e9,
              seal_rate(*make_openssl_record_aead(key)) / 1e9);
  for (const int players : {2, 3, 5}) {
    std::map<std::string, MpiTiming> mpi;
    const std::string end = "/n" + std::to_string(players);
    bool wanted = false;
    for (const OpenCase& test : open_cases(options.quick, players)) {
      wanted = wanted || options.wants(row_name(test, "mpi", players)) ||
               options.wants(row_name(test, "tls", players));
    }
    if (wanted) {
      const auto timings = time_mpi(players, options.quick);
      if (timings.ok()) {
        mpi = *timings;
      } else if (timings.error().code == ErrorCode::kConfig) {
        std::printf("open/*/mpi%s: left out, %s\n", end.c_str(), timings.error().message.c_str());
      } else {
        report.fail("open/*/mpi" + end, timings.error().message);
      }
    }
    for (const OpenCase& test : open_cases(options.quick, players)) {
      run_case(report, options, test, players, mpi);
    }
  }
  return report.finish(options.json_path);
}

}  // namespace
}  // namespace beaverpond

int main(int argc, char** argv) {
  return beaverpond::bench_main(argc, argv, &beaverpond::run);
}
