// Kernels against what a user would reach for instead: Eigen's int64 product and OpenSSL's
// ciphers. Every result is compared bit for bit before it is timed; ours and the reference take
// turns, so that a change of clock or a noisy neighbour meets both; medians are reported.
//
//   beaverpond-kernels-bench [--json FILE] [--only NAME] [--repetitions N] [--quick]
//   beaverpond-kernels-bench --benchmark [Google Benchmark's options]     ours only
#include <benchmark/benchmark.h>
#include <openssl/evp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "bench/kernels/conv_cases.h"
#include "bench/kernels/eigen_gemm.h"
#include "bench/kernels/kernel_case.h"
#include "bench/kernels/thread_cases.h"
#include "bench/report/report.h"
#include "kernels/cpu/prg.h"
#include "kernels/features.h"
#include "kernels/gemm/gemm.h"

namespace beaverpond {
namespace {

using Words = std::vector<std::uint64_t>;
using Bytes = std::vector<std::uint8_t>;

using Case = KernelCase;

struct GemmData {
  Words a, b, ours, theirs;
  AlignedBytes workspace = aligned_bytes(gemm_workspace_size_bytes());
};

Case gemm_case(std::size_t m, std::size_t k, std::size_t n, GemmKernel kernel = GemmKernel::kAuto) {
  const auto data = std::make_shared<GemmData>();
  std::mt19937_64 random(m * 1000003 + k * 1009 + n);
  data->a = random_words(m * k, random);
  data->b = random_words(k * n, random);
  data->ours = random_words(m * n, random);
  data->theirs = random_words(m * n, random);
  Case result;
  result.name =
      kernel == GemmKernel::kAuto ? "gemm/" : std::string("gemm-") + to_string(kernel) + "/";
  result.name += std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n);
  result.unit = "MAC/s";
  result.reference = "Eigen 3.4 int64";
  result.work = static_cast<double>(m) * static_cast<double>(k) * static_cast<double>(n);
  result.ours = [=] {
    gemm(row_major(data->a.data(), m, k), row_major(data->b.data(), k, n), data->ours.data(), n,
         false, {data->workspace.get(), gemm_workspace_size_bytes()}, kernel);
  };
  result.theirs = [=] { eigen_gemm(data->a.data(), data->b.data(), data->theirs.data(), m, k, n); };
  result.agree = [=, ours = result.ours, theirs = result.theirs] {
    ours();
    theirs();
    return data->ours == data->theirs;
  };
  return result;
}

struct PrgData {
  Seed seed;
  std::unique_ptr<Prg> prg;
  std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> cipher{EVP_CIPHER_CTX_new(),
                                                                         &EVP_CIPHER_CTX_free};
  Bytes zeros, ours, theirs;
};

void encrypt(EVP_CIPHER_CTX* cipher, const Bytes& in, Bytes& out) {
  int written = 0;
  if (EVP_EncryptUpdate(cipher, out.data(), &written, in.data(), static_cast<int>(in.size())) !=
      1) {
    std::abort();
  }
}

/// The stream as OpenSSL computes it. Our AES counter is little endian, so it is encrypted as
/// explicit blocks; the reference that is timed is OpenSSL's own CTR mode, the fastest it has.
Bytes openssl_stream(const PrgData& data, PrgKind kind) {
  const std::uint8_t* seed = data.seed.bytes().data();
  Bytes input(data.ours.size()), out(data.ours.size());
  const Bytes start(16, 0);
  const EVP_CIPHER* cipher = EVP_chacha20();
  if (kind == PrgKind::kAes128Ctr) {
    cipher = EVP_aes_128_ecb();
    for (std::size_t at = 0; at < input.size(); at += 16) {
      std::memcpy(input.data() + at, seed + 16, 16);
      std::uint64_t low = 0;
      std::memcpy(&low, seed + 16, 8);
      low += at / 16;
      std::memcpy(input.data() + at, &low, 8);
    }
  }
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
      EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  if (EVP_EncryptInit_ex(context.get(), cipher, nullptr, seed, start.data()) != 1) std::abort();
  EVP_CIPHER_CTX_set_padding(context.get(), 0);
  encrypt(context.get(), input, out);
  return out;
}

Case prg_case(PrgKind kind) {
  constexpr std::size_t kSize = 16384;  // in L1
  const auto data = std::make_shared<PrgData>();
  std::mt19937_64 random(1);
  for (std::uint8_t& byte : data->seed.mutable_bytes()) byte = static_cast<std::uint8_t>(random());
  data->prg = std::make_unique<Prg>(data->seed, kind);
  data->zeros.resize(kSize);
  data->ours.resize(kSize);
  data->theirs.resize(kSize);
  const bool aes = kind == PrgKind::kAes128Ctr;
  const Bytes start(16, 0);
  if (EVP_EncryptInit_ex(data->cipher.get(), aes ? EVP_aes_128_ctr() : EVP_chacha20(), nullptr,
                         data->seed.bytes().data(), start.data()) != 1) {
    std::abort();
  }
  Case result;
  result.name = std::string("prg/") + to_string(kind);
  result.unit = "B/s";
  result.reference = aes ? "OpenSSL EVP_aes_128_ctr" : "OpenSSL EVP_chacha20";
  result.work = kSize;
  result.ours = [=] { data->prg->fill(0, 0, data->ours); };
  result.theirs = [=] { encrypt(data->cipher.get(), data->zeros, data->theirs); };
  result.agree = [=, ours = result.ours] {
    ours();
    return data->ours == openssl_stream(*data, kind);
  };
  return result;
}

std::vector<Case> all_cases() {
  std::vector<Case> cases = {gemm_case(512, 512, 512),
                             gemm_case(1024, 1024, 1024),
                             gemm_case(128, 784, 128),
                             gemm_case(128, 128, 128),
                             gemm_case(8192, 500, 50),
                             gemm_case(25088, 25, 5),
                             gemm_case(512, 512, 512, GemmKernel::kAvx2),
                             prg_case(PrgKind::kAes128Ctr),
                             prg_case(PrgKind::kChaCha20)};
  for (Case& test : conv_cases()) cases.push_back(std::move(test));
  for (Case& test : thread_cases()) cases.push_back(std::move(test));
  return cases;
}

double seconds_of(const std::function<void()>& call, std::size_t calls) {
  const auto start = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < calls; ++i) call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Calls that take at least 20 ms together. Also warms the caches up.
std::size_t calls_for_timing(const std::function<void()>& call) {
  std::size_t calls = 1;
  while (seconds_of(call, calls) < 0.02) calls *= 2;
  return calls;
}

nlohmann::ordered_json measure(const Case& test, int repetitions) {
  const std::size_t our_calls = calls_for_timing(test.ours);
  const std::size_t their_calls = calls_for_timing(test.theirs);
  const double our_work = test.work * static_cast<double>(our_calls);
  std::vector<double> ours, ours_per_cpu, theirs;
  for (int i = 0; i < repetitions; ++i) {
    const double cpu_start = thread_cpu_seconds();
    ours.push_back(our_work / seconds_of(test.ours, our_calls));
    ours_per_cpu.push_back(our_work / (thread_cpu_seconds() - cpu_start));
    theirs.push_back(test.work * static_cast<double>(their_calls) /
                     seconds_of(test.theirs, their_calls));
  }
  const double value = median(ours), reference = median(theirs);
  return {{"name", test.name},
          {"value", value},
          {"unit", test.unit},
          {"reference", test.reference},
          {"reference_kind", "measured"},
          {"reference_value", reference},
          {"ratio", value / reference},
          {"per_cpu_second", median(ours_per_cpu)}};
}

int run_pairs(const std::string& json_path, const std::string& only, int repetitions) {
  std::printf("%-38s %12s %6s %12s %7s %7s  %s\n", "kernel", "ours", "unit", "reference", "ratio",
              "#wrong", "compared with");
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  int wrong = 0;
  for (const Case& test : all_cases()) {
    if (test.name.find(only) == std::string::npos) continue;
    if (!test.agree()) {
      std::printf("%-38s %12s %6s %12s %7s %7d  %s\n", test.name.c_str(), "-", test.unit.c_str(),
                  "-", "-", 1, test.reference.c_str());
      ++wrong;
      continue;
    }
    const auto row = measure(test, repetitions);
    std::printf("%-38s %12.3e %6s %12.3e %6.2fx %7d  %s\n", test.name.c_str(),
                row["value"].get<double>(), test.unit.c_str(), row["reference_value"].get<double>(),
                row["ratio"].get<double>(), 0, test.reference.c_str());
    std::fflush(stdout);
    rows.push_back(row);
  }
  if (!json_path.empty()) {
    std::ofstream file(json_path);
    file << rows.dump(2) << "\n";
    if (!file.flush()) {
      std::fprintf(stderr, "cannot write %s\n", json_path.c_str());
      return 1;
    }
  }
  return wrong == 0 ? 0 : 1;
}

int run_google_benchmark(int argc, char** argv) {
  for (const Case& test : all_cases()) {
    if (!test.agree()) {
      std::fprintf(stderr, "%s: wrong result\n", test.name.c_str());
      return 1;
    }
    benchmark::RegisterBenchmark(test.name.c_str(), [test](benchmark::State& state) {
      for ([[maybe_unused]] auto step : state) test.ours();
      state.counters[test.unit] =
          benchmark::Counter(test.work, benchmark::Counter::kIsIterationInvariantRate);
    });
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

int usage() {
  std::fprintf(stderr,
               "usage: beaverpond-kernels-bench [--json FILE] [--only NAME] [--repetitions N] "
               "[--quick]\n"
               "       beaverpond-kernels-bench --benchmark [options of Google Benchmark]\n");
  return 2;
}

int run(int argc, char** argv) {
  if (!cpu_has_avx2()) {
    std::fprintf(stderr, "the reference products are built for AVX2, which this machine lacks\n");
    return 2;
  }
  std::string json_path, only;
  int repetitions = 9;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (i == 1 && option == "--benchmark") return run_google_benchmark(argc - 1, argv + 1);
    if (option == "--json" && i + 1 < argc) {
      json_path = argv[++i];
    } else if (option == "--only" && i + 1 < argc) {
      only = argv[++i];
    } else if (option == "--repetitions" && i + 1 < argc) {
      repetitions = std::max(7, std::atoi(argv[++i]));
    } else if (option == "--quick") {
      repetitions = 1;
    } else {
      return usage();
    }
  }
  return run_pairs(json_path, only, repetitions);
}

}  // namespace
}  // namespace beaverpond

int main(int argc, char** argv) {
  try {
    return beaverpond::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
