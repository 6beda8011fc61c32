// What `beaverpond doctor` found.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "online/nn/job.h"
#include "online/nn/trainer.h"
#include "online/player/launch_place.h"
#include "online/player/player.h"

namespace beaverpond {

enum class Health : std::uint8_t { kOk, kWarn, kFail };

/// One line of the doctor.
struct Finding {
  Health health = Health::kOk;
  std::string check;              ///< a word: "roster", "pool", "clock"
  std::string text;               ///< what was found and, unless it is well, what to do
  std::optional<ErrorCode> code;  ///< of a kFail
};

class Findings {
 public:
  void ok(const std::string& check, std::string text) {
    add({Health::kOk, check, std::move(text), std::nullopt});
  }
  void warn(const std::string& check, std::string text) {
    add({Health::kWarn, check, std::move(text), std::nullopt});
  }
  void fail(const std::string& check, const Error& error);
  void fail(const std::string& check, ErrorCode code, std::string text) {
    add({Health::kFail, check, std::move(text), code});
  }
  const std::vector<Finding>& all() const { return all_; }
  std::uint64_t count(Health health) const;
  /// Of the first that failed.
  std::optional<ErrorCode> first_code() const;

 private:
  void add(Finding finding) { all_.push_back(std::move(finding)); }
  std::vector<Finding> all_;
};

/// What the players tell each other about themselves.
struct SelfReport {
  std::string version;
  Hash256 roster{};            ///< of the whole file: addresses too
  std::vector<Agreed> agreed;  ///< of the job; empty without
  std::string job;             ///< "tiny", or empty
  std::int64_t certificate_until = 0;
  /// Ready, of each of DoctorNeeds::plans; empty without a job, or if the pool could not be read.
  std::vector<std::uint64_t> bundles;
  std::uint64_t free_bytes = 0;
  std::string device;
  std::uint64_t fails = 0;  ///< what it found about itself
};

/// The same everywhere, for comparing and for saying what is scarce.
struct DoctorNeeds {
  std::vector<PlanOption> plans;  ///< any of which the job may spend; empty without a job
  std::uint64_t bundles = 1;      ///< that some plan must have on all players, or it is a warning
  std::uint64_t free_bytes = std::uint64_t{1} << 30;  ///< less is a warning
  static constexpr std::uint64_t kLeastFreeBytes = std::uint64_t{64} << 20;
  static constexpr double kClockWarnSeconds = 1;
  static constexpr double kClockFailSeconds = 300;
};

/// Whether some plan has as many bundles as a lease takes.
bool enough_of_one(std::span<const std::uint64_t> bundles, const DoctorNeeds& needs);

/// "16 bundles of this job"; where it may spend either of two, "16 bundles of profile lan, 0 of
/// profile wan".
std::string bundles_text(std::span<const std::uint64_t> bundles, const DoctorNeeds& needs);

/// "3.2 GB".
std::string bytes_text(std::uint64_t bytes);

/// Connects to all others and compares; they run the same command meanwhile. Adds to `findings`.
void examine_players_blocking(const Launch& launch, const Roster& roster, int listen_descriptor,
                              const NetworkConfig& network, const SelfReport& self,
                              const DoctorNeeds& needs, Findings& findings);

}  // namespace beaverpond
