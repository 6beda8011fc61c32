#include "online/cli/doctor.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "kernels/make_backend.h"
#include "offline/plan/certificate.h"
#include "offline/pool/pool.h"
#include "offline/pool/posix_storage.h"
#include "online/cli/commands.h"
#include "online/cli/job_player.h"
#include "online/cli/json_line.h"
#include "online/player/home_pool.h"
#include "online/session/bundle_source.h"
#include "online/transport/mpi_module.h"
#include "online/transport/nccl_options.h"
#include "online/transport/tls_session.h"

namespace beaverpond {
namespace {

constexpr std::int64_t kDay = 24 * 60 * 60;
constexpr std::int64_t kSoon = 30 * kDay;

std::string date_text(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  char text[32] = "?";
  if (::gmtime_r(&time, &parts) != nullptr) std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
  return text;
}

void examine_certificate(const Home& home, SelfReport& self, Findings& findings) {
  if (const auto context = TlsContext::create(home.key_path(), home.certificate_path());
      !context.ok()) {
    return findings.fail("certificate", context.error());
  }
  const Result<CertificateDates> dates = certificate_dates(home.certificate_path());
  if (!dates.ok()) return findings.fail("certificate", dates.error());
  self.certificate_until = dates->until;
  const std::int64_t now = std::time(nullptr);
  const std::string until = home.certificate_path() + " is valid until " + date_text(dates->until);
  const std::string remedy =
      "; make a new key and certificate in a new home (`beaverpond keygen`) and let all put it "
      "into the roster";
  if (dates->until <= now) {
    findings.fail("certificate", ErrorCode::kConfig, until + ", which is over" + remedy);
  } else if (dates->from > now) {
    findings.warn("certificate", home.certificate_path() + " is valid from " +
                                     date_text(dates->from) + " on; look at this host's clock");
  } else if (dates->until - now < kSoon) {
    findings.warn("certificate", until + remedy);
  } else {
    findings.ok("certificate", until + ", belongs to key.pem and is the one in the roster");
  }
}

/// The pool's own checks, and how much of the job's bundles it holds.
void examine_pool(const Launch& launch, const Roster& roster, std::uint32_t lane,
                  const DoctorNeeds& needs, SelfReport& self, Findings& findings) {
  const Home home{launch.home};
  PosixStorage storage;
  Result<Pool> pool = Pool::open(home_pool_options(home, roster, launch.rank, storage));
  if (!pool.ok() && pool.error().code == ErrorCode::kPoolBusy) {
    return findings.warn("pool", pool.error().message + " (a job is running here)");
  }
  if (!pool.ok()) return findings.fail("pool", pool.error());
  if (needs.plans.empty()) {
    return findings.ok("pool", home.pool_path() + " opens; give the job to see its bundles");
  }
  std::vector<std::uint64_t> bundles;
  for (const PlanOption& option : needs.plans) {
    const Result<std::uint64_t> ready = bundles_ready(*pool, {option.plan, lane});
    if (!ready.ok()) return findings.fail("pool", ready.error());
    bundles.push_back(*ready);
  }
  self.bundles = std::move(bundles);
  const std::string text = home.pool_path() + " holds " + bundles_text(self.bundles, needs);
  if (enough_of_one(self.bundles, needs)) return findings.ok("pool", text);
  findings.warn("pool", text + ", and a lease takes " + std::to_string(needs.bundles) +
                            "; start triple-factory with the job's plan, and the pull of this "
                            "player where the factory is elsewhere");
}

void examine_disk(const Home& home, const DoctorNeeds& needs, SelfReport& self,
                  Findings& findings) {
  PosixStorage storage;
  const Result<std::uint64_t> free = storage.free_bytes(home.directory);
  if (!free.ok()) return findings.fail("disk", free.error());
  self.free_bytes = *free;
  const std::string text = home.directory + " has " + bytes_text(*free) + " free";
  if (*free < DoctorNeeds::kLeastFreeBytes) {
    findings.fail("disk", ErrorCode::kNoSpace, text + "; make room");
  } else if (*free < needs.free_bytes) {
    findings.warn("disk", text + ", the pool may take " + bytes_text(needs.free_bytes) +
                              "; make room, or lower [pool] disk_budget of the factory");
  } else {
    findings.ok("disk", text);
  }
}

void examine_transport(const DoctorCommand& options, const Roster& roster, Findings& findings) {
  const std::string& transport = options.player.transport;
  Result<void> result = check_transport(transport);
  if (result.ok() && transport == "nccl") result = check_fabric(roster.trusted_fabric);
  if (result.ok() && transport == "mpi") {
    result = check_mpi_fabric(roster.trusted_fabric);
    if (const auto module = load_mpi_module(); result.ok() && !module.ok()) result = module.error();
  }
  if (!result.ok()) return findings.fail("transport", result.error());
  findings.ok("transport", transport);
}

void examine_device(const std::string& device, SelfReport& self, Findings& findings) {
  const Result<MadeBackend> made = make_backend(device);
  if (!made.ok()) return findings.fail("device", made.error());
  self.device = made->line;
  findings.ok("device", made->line);
}

/// What a job needs, and what all players must have alike of it. The network that it asks for.
NetworkConfig examine_job(const std::string& path, int rank, DoctorNeeds& needs, SelfReport& self,
                          Findings& findings) {
  if (path.empty()) return {};
  Undertaking what;
  const auto examine = [&]() -> Result<void> {
    BP_ASSIGN(const Job job, read_job(path));
    BP_ASSIGN(const TrainingSetup setup, prepare_training(job, job.pool.prg));
    BP_TRY(check_own_data(job, rank));
    what = job_undertaking(job, setup.training.program, setup.plan, setup.wide_plan);
    needs.plans = what.plans;
    if (needs.plans.empty()) needs.plans = {{to_string(setup.plan.profile), what.plan}};
    needs.bundles = what.lease_bundles;
    needs.free_bytes = job.pool.disk_budget.value;
    self.job = job.name;
    self.agreed = what.agreed;
    return {};
  };
  const Result<void> result = examine();
  if (!result.ok()) {
    findings.fail("job", result.error());
  } else {
    findings.ok("job", path + " and this player's data can be read");
  }
  return what.network;
}

void show(const Findings& findings, const DoctorCommand& options, int rank) {
  std::vector<JsonFields> rows;
  for (const Finding& finding : findings.all()) {
    static constexpr const char* kWords[] = {"OK", "WARN", "FAIL"};
    const char* const word = kWords[static_cast<int>(finding.health)];
    if (!options.json) {
      std::printf("%-4s  %-11s  %s\n", word, finding.check.c_str(), finding.text.c_str());
    }
    rows.push_back(
        {{"result", std::string(word)}, {"check", finding.check}, {"text", finding.text}});
    if (finding.code.has_value()) {
      rows.back().emplace_back("code", std::string(to_string(*finding.code)));
    }
  }
  if (!options.json) return;
  JsonFields fields = {{"doctor", nullptr},
                       {"ok", findings.count(Health::kOk)},
                       {"warn", findings.count(Health::kWarn)},
                       {"fail", findings.count(Health::kFail)}};
  if (rank >= 0) fields[0].second = static_cast<std::uint64_t>(rank);
  std::printf("%s\n", json_line(fields, {{"checks", rows}}).c_str());
}

Result<void> conclude(const Findings& findings, const DoctorCommand& options, int rank) {
  show(findings, options, rank);
  const std::optional<ErrorCode> code = findings.first_code();
  if (!code.has_value()) return {};
  return make_error(*code, std::to_string(findings.count(Health::kFail)) +
                               " checks failed; what to do stands beside each");
}

}  // namespace

void Findings::fail(const std::string& check, const Error& error) {
  Error shown = error;
  shown.operation.clear();
  fail(check, error.code, describe(shown));
}

std::uint64_t Findings::count(Health health) const {
  return static_cast<std::uint64_t>(std::count_if(
      all_.begin(), all_.end(), [&](const Finding& f) { return f.health == health; }));
}

std::optional<ErrorCode> Findings::first_code() const {
  for (const Finding& finding : all_) {
    if (finding.code.has_value()) return finding.code;
  }
  return std::nullopt;
}

bool enough_of_one(std::span<const std::uint64_t> bundles, const DoctorNeeds& needs) {
  return std::any_of(bundles.begin(), bundles.end(),
                     [&](std::uint64_t count) { return count >= needs.bundles; });
}

std::string bundles_text(std::span<const std::uint64_t> bundles, const DoctorNeeds& needs) {
  if (bundles.size() == 1) return std::to_string(bundles[0]) + " bundles of this job";
  std::string text;
  for (std::size_t i = 0; i < bundles.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(bundles[i]) + (i > 0 ? "" : " bundles") +
            " of profile " + needs.plans[i].name;
  }
  return text;
}

std::string bytes_text(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1000 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, "%.*f %s", unit == 0 ? 0 : 1, value, kUnits[unit]);
  return text;
}

Result<void> run_doctor(const DoctorCommand& options, const LaunchFlags& flags) {
  Findings findings;
  SelfReport self;
  self.version = options.version;
  DoctorNeeds needs;
  // Without a home, a roster and a place in it nothing else can be looked at.
  const Result<Launch> place = resolve_launch(flags, process_environment());
  if (!place.ok()) {
    findings.fail("roster", place.error());
    return conclude(findings, options, -1);
  }
  const Launch& launch = *place;
  const Home home{launch.home};
  BP_ASSIGN(const Roster roster, read_roster_file(home.roster_path()));
  findings.ok("roster", launch.line);
  const std::string text = write_roster(roster);
  self.roster = sha256({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  examine_certificate(home, self, findings);
  NetworkConfig network = examine_job(options.job, launch.rank, needs, self, findings);
  examine_disk(home, needs, self, findings);
  examine_pool(launch, roster, options.player.lane, needs, self, findings);
  examine_transport(options, roster, findings);
  examine_device(options.player.device, self, findings);
  self.fails = findings.count(Health::kFail);
  if (options.timeout_seconds.has_value()) {
    network.connect_timeout_ms = *options.timeout_seconds * 1000;
  }
  if (!options.local) {
    examine_players_blocking(launch, roster, options.player.listen_descriptor, network, self, needs,
                             findings);
  }
  return conclude(findings, options, launch.rank);
}

}  // namespace beaverpond
