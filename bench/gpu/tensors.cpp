#include "bench/gpu/tensors.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "bench/report/report.h"

namespace beaverpond {

void require(const Result<void>& result) {
  if (!result.ok()) throw std::runtime_error(result.error().message);
}

const SyntheticSource& input_source() {
  static const SyntheticSource source = [] {
    // Never fails: "auto" falls back to the CPU.
    Result<SyntheticSource> found = SyntheticSource::open("auto");
    if (!found.ok()) throw std::runtime_error(found.error().message);
    return std::move(found).value();
  }();
  return source;
}

Buffer random_tensor(Backend& backend, std::uint64_t count, std::uint64_t salt) {
  Result<Buffer> buffer = backend.allocate(ByteCount{count * 8});
  if (!buffer.ok()) throw std::runtime_error(buffer.error().message);
  const std::span<std::uint8_t> out = buffer.value().bytes();
  require(backend.synchronize(kHostStream));  // allocate() clears
  const SyntheticSource cpu;
  if (backend.memory() == MemoryKind::kHost) {
    require(cpu.fill_blocking(salt, 0, out));
  } else if (input_source().on_gpu()) {
    require(input_source().fill_blocking(salt, 0, out, MemoryKind::kDevice));
  } else {
    std::vector<std::uint64_t> host(count);
    require(cpu.fill_blocking(salt, 0, bytes_of(Words(host))));
    backend.upload(bytes_of(Words(host)), out, kHostStream);
    require(backend.synchronize(kHostStream));
  }
  return std::move(buffer).value();
}

std::vector<std::uint64_t> download_words(Backend& backend, ConstWords words) {
  std::vector<std::uint64_t> host(words.size());
  backend.download(bytes_of(words), bytes_of(Words(host)), kHostStream);
  require(backend.synchronize(kHostStream));
  return host;
}

double time_on_device(Backend& backend, double least_seconds, const std::function<void()>& body) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [&](int calls) {
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < calls; ++i) body();
    require(backend.synchronize(kHostStream));
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  seconds(1);  // modules load, memory grows
  const double once = std::max(seconds(1), 1e-7);
  constexpr int kRuns = 5;
  const int calls =
      static_cast<int>(std::clamp(std::ceil(least_seconds / kRuns / once), 1.0, 10000.0));
  std::vector<double> runs;
  for (int run = 0; run < kRuns; ++run) runs.push_back(seconds(calls) / calls);
  return median(runs);
}

}  // namespace beaverpond
