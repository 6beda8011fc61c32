// Where synthetic words come from: cuRAND on a GPU, cuRAND on the CPU, or this file's own code. All
// give the same words.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "beaverpond/result.h"
#include "beaverpond/stream.h"

namespace beaverpond {

struct DeviceModule;  // kernels/device_module.h

/// For --help and README.
inline constexpr const char* kSyntheticDeviceHelp =
    "auto, cpu, curand-host, cuda or cuda:N: what computes (default: auto, cuRAND on a GPU if "
    "there is one, else the CPU); the result is the same";

/// One generator. Copies are equal; any thread.
class SyntheticSource {
 public:
  /// This file's own generator, which needs nothing.
  SyntheticSource() = default;
  /// By its name: "cpu"; "cuda", "cuda:N" and "curand-host", each after a trial of a few words; or
  /// "auto", the first GPU, or the CPU where that fails. Errors: kConfig (no such name or GPU),
  /// kDeviceFailed (no module, no cuRAND, no driver), kOutOfMemory.
  static Result<SyntheticSource> open(const std::string& name);

  /// Whether it fills memory of a GPU, and only then.
  bool on_gpu() const { return module_ != nullptr && device_ >= 0; }
  /// "cuRAND on cuda:0", and where "auto" took the CPU why: for a person.
  const std::string& line() const { return line_; }

  /// out := words first_word, first_word + 1 .. of the sequence, 4 bytes each, little endian. Whole
  /// words, 16-byte aligned; `memory` says where they lie, kDevice only if on_gpu(). Nothing may be
  /// under way on `out`. Errors: kDeviceFailed, kOutOfMemory.
  Result<void> fill_blocking(std::uint64_t sequence_seed, std::uint64_t first_word,
                             std::span<std::uint8_t> out,
                             MemoryKind memory = MemoryKind::kHost) const;

 private:
  const DeviceModule* module_ = nullptr;  ///< null: our own
  int device_ = -1;                       ///< as SyntheticRequest::device
  std::string line_ = "the CPU";
};

}  // namespace beaverpond
