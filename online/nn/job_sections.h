// The parts of a job file, private to this folder: job.cpp reads the small tables and calls these.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "online/nn/config_section.h"
#include "online/nn/job.h"

namespace beaverpond {

constexpr int kMaxMasterScale = 54;  // leaves weights room up to |W| < 256 in the domain
constexpr int kMaxMasterExtraBits = 40;

/// Each reads its tables of the document `top` into `job`; mistakes go to `context`.
void read_model(ConfigContext& context, ConfigSection& top, Job& job);     ///< [model], [[layer]]
void read_training(ConfigContext& context, ConfigSection& top, Job& job);  ///< after read_model
void read_data(ConfigContext& context, ConfigSection& top, Job& job);      ///< after read_training

/// A table that must be there.
ConfigSection required_section(ConfigContext& context, ConfigSection& top, const char* name,
                               std::initializer_list<std::string_view> known);

/// An epoch, of at least one step, is one nonce word.
inline constexpr std::uint64_t kMaxSteps = UINT32_MAX;

inline constexpr std::uint64_t kMaxRejoinSeconds = 7 * 24 * 3600;

inline std::uint32_t u32(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}

/// "layer[3]".
inline std::string indexed(const std::string& name, std::size_t index) {
  return name + "[" + std::to_string(index) + "]";
}

}  // namespace beaverpond
