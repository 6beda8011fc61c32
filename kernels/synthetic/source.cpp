#include "kernels/synthetic/source.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "beaverpond/check.h"
#include "kernels/device_module.h"
#include "kernels/device_name.h"
#include "kernels/synthetic/philox.h"
#include "kernels/synthetic/request.h"

namespace beaverpond {
namespace {

constexpr std::size_t kWordBytes = 4;

void fill_on_cpu(std::uint64_t sequence_seed, std::uint64_t word, std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const PhiloxBlock block = synthetic_block(sequence_seed, word / 4);
    const std::size_t skipped = word % 4;
    const std::size_t bytes = std::min(out.size(), (4 - skipped) * kWordBytes);
    std::memcpy(out.data(), block.data() + skipped, bytes);
    out = out.subspan(bytes);
    word += bytes / kWordBytes;
  }
}

}  // namespace

Result<SyntheticSource> SyntheticSource::open(const std::string& name) {
  SyntheticSource source;
  if (name == "cpu") return source;
  const std::optional<int> gpu = gpu_of(name);
  if (!gpu.has_value() && name != "auto" && name != "curand-host") {
    return make_error(ErrorCode::kConfig, "'" + name +
                                              "' is no device for this; write auto, cpu, "
                                              "curand-host, cuda or, for the GPU with number 1, "
                                              "cuda:1");
  }
  const bool on_host = name == "curand-host";
  SyntheticSource found;
  found.device_ = on_host ? SyntheticRequest::kOnHost : gpu.value_or(0);
  found.line_ = on_host ? "cuRAND on the CPU" : "cuRAND on cuda:" + std::to_string(found.device_);
  const auto attempt = [&found]() -> Result<void> {
    BP_ASSIGN(found.module_, load_cuda_module());
    alignas(16) std::array<std::uint8_t, 64> trial{};
    return found.fill_blocking(0, 0, trial);
  };
  Result<void> works = attempt();
  if (works.ok()) return found;
  if (name != "auto") return std::move(works).error();
  // Without the remedy: nobody asked for a GPU.
  const std::string& why = works.error().message;
  source.line_ += ": " + why.substr(0, why.find(';'));
  return source;
}

Result<void> SyntheticSource::fill_blocking(std::uint64_t sequence_seed, std::uint64_t first_word,
                                            std::span<std::uint8_t> out, MemoryKind memory) const {
  BP_CHECK(out.size() % kWordBytes == 0, "synthetic words come whole");
  BP_CHECK(memory == MemoryKind::kHost || on_gpu(), "the CPU cannot fill a GPU's memory");
  if (module_ == nullptr) {
    fill_on_cpu(sequence_seed, first_word, out);
    return {};
  }
  return module_->fill_synthetic_blocking({.device = device_,
                                           .sequence_seed = sequence_seed,
                                           .first_word = first_word,
                                           .out = out,
                                           .memory = memory});
}

}  // namespace beaverpond
