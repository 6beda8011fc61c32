// The doctor's meeting of all players: each says what it is, and compares.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <sstream>

#include "online/cli/doctor.h"
#include "online/player/connection.h"

namespace beaverpond {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr char kDomain[] = "beaverpond doctor v1";
constexpr std::uint32_t kReportOperation = 0xfffc0000u;
constexpr std::uint32_t kClockOperation = 0xfffc0001u;
constexpr std::uint32_t kEndOperation = 0xfffc0002u;

/// Lines of "name value"; unknown names are for later releases.
using Fields = std::map<std::string, std::string>;

std::string encode(const SelfReport& self) {
  std::ostringstream text;
  text << "version " << self.version << "\nroster " << to_hex(self.roster) << "\njob " << self.job
       << "\ncertificate_until " << self.certificate_until << "\nfree_bytes " << self.free_bytes
       << "\ndevice " << self.device << "\nfails " << self.fails << "\n";
  for (std::size_t i = 0; i < self.bundles.size(); ++i) {
    text << "bundles" << i << " " << self.bundles[i] << "\n";
  }
  for (std::size_t i = 0; i < self.agreed.size(); ++i) {
    text << "agreed" << i << " " << to_hex(self.agreed[i].hash) << "\n";
  }
  return text.str();
}

/// Another player's bytes: what cannot be printed is not.
Fields decode(std::span<const std::uint8_t> bytes) {
  Fields fields;
  std::string line;
  for (const std::uint8_t byte : bytes.first(std::min<std::size_t>(bytes.size(), 1 << 16))) {
    if (byte == '\n') {
      const std::size_t space = line.find(' ');
      if (space != std::string::npos) fields[line.substr(0, space)] = line.substr(space + 1);
      line.clear();
    } else if (line.size() < 400) {
      line += byte >= 0x20 && byte < 0x7f ? static_cast<char>(byte) : '?';
    }
  }
  return fields;
}

std::optional<std::int64_t> number(const Fields& fields, const std::string& name) {
  const auto found = fields.find(name);
  if (found == fields.end()) return std::nullopt;
  std::int64_t value = 0;
  const char* const end = found->second.data() + found->second.size();
  if (std::from_chars(found->second.data(), end, value).ptr != end) return std::nullopt;
  return value;
}

std::string text_of(const Fields& fields, const std::string& name) {
  const auto found = fields.find(name);
  return found == fields.end() ? "" : found->second;
}

void compare_jobs(const Fields& theirs, const SelfReport& self, const std::string& who,
                  Findings& findings) {
  const std::string job = text_of(theirs, "job");
  if (self.agreed.empty() || job.empty()) {
    if (self.job != job) {
      findings.warn("job", who + (job.empty() ? " was given no job" : " was given " + job) +
                               " and this player " + (self.job.empty() ? "none" : self.job) +
                               ", so that they were not compared; give all the same");
    }
    return;
  }
  for (std::size_t i = 0; i < self.agreed.size(); ++i) {
    if (text_of(theirs, "agreed" + std::to_string(i)) == to_hex(self.agreed[i].hash)) continue;
    findings.fail("job", ErrorCode::kRosterMismatch, who + ": " + self.agreed[i].if_it_differs);
    return;
  }
  findings.ok("job", who + " has the same model, data format, plan and program");
}

void compare(const Fields& theirs, const SelfReport& self, const std::string& who,
             Findings& findings) {
  const std::string version = text_of(theirs, "version");
  if (version == self.version) {
    findings.ok("version", who + " has " + version + " too");
  } else {
    findings.fail("version", ErrorCode::kRosterMismatch,
                  who + " has version '" + version + "', this player " + self.version +
                      "; install the same release on all");
  }
  if (text_of(theirs, "roster") != to_hex(self.roster)) {
    findings.warn("roster", who +
                                "'s roster has the same players, but other addresses, another "
                                "factory or another trusted_fabric; copy one roster to all");
  }
  compare_jobs(theirs, self, who, findings);
  if (number(theirs, "fails").value_or(0) > 0) {
    findings.warn("others", who + " found faults of its own; its own output says which");
  }
}

/// What a player said it has of each plan; empty unless it named them all.
std::vector<std::uint64_t> bundles_of(const Fields& theirs, std::size_t plans) {
  std::vector<std::uint64_t> bundles;
  for (std::size_t i = 0; i < plans; ++i) {
    const std::optional<std::int64_t> count = number(theirs, "bundles" + std::to_string(i));
    if (!count.has_value() || *count < 0) return {};
    bundles.push_back(static_cast<std::uint64_t>(*count));
  }
  return bundles;
}

/// Whether some plan has enough on all players, as far as they know. `reports`: by rank.
void compare_pools(std::span<const Fields> reports, int rank, const DoctorNeeds& needs,
                   std::span<const std::string> names, Findings& findings) {
  std::vector<std::uint64_t> fewest(needs.plans.size(), UINT64_MAX);
  bool all_have_one = true;
  for (std::size_t player = 0; player < reports.size(); ++player) {
    const auto bundles = bundles_of(reports[player], needs.plans.size());
    if (bundles.empty()) continue;
    for (std::size_t i = 0; i < bundles.size(); ++i) fewest[i] = std::min(fewest[i], bundles[i]);
    if (enough_of_one(bundles, needs)) continue;
    all_have_one = false;
    if (static_cast<int>(player) == rank) continue;  // has been said
    findings.warn("pool", names[player] + " has " + bundles_text(bundles, needs) +
                              "; make more, or see that its pull runs");
  }
  if (fewest.empty() || !all_have_one || enough_of_one(fewest, needs)) return;
  findings.warn("pool", "the players with the fewest have " + bundles_text(fewest, needs) +
                            ", and a lease takes " + std::to_string(needs.bundles) +
                            " of one profile from all; let the factory fill the same on all");
}

/// What this player sees of the other's clock, and how sure that is.
void compare_clocks(double skew, double doubt, const std::string& who, Findings& findings) {
  char text[96];
  std::snprintf(text, sizeof text, "'s clock differs by %.3f s (give or take %.3f s)", skew, doubt);
  const double sure = std::abs(skew) - doubt;
  const std::string remedy = "; run a time service (chrony, systemd-timesyncd) on both hosts";
  if (sure > DoctorNeeds::kClockFailSeconds) {
    findings.fail("clock", ErrorCode::kConfig, who + text + remedy);
  } else if (sure > DoctorNeeds::kClockWarnSeconds) {
    findings.warn("clock", who + text + remedy);
  } else {
    findings.ok("clock", who + text);
  }
}

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Everybody's clock, asked for by all at once some times; the quickest exchange counts.
Result<void> examine_clocks(Transport& transport, const std::vector<std::string>& names,
                            Deadline deadline, Findings& findings) {
  const auto players = static_cast<std::size_t>(transport.size());
  std::vector<double> skew(players, 0);
  double least = 1e9;
  for (std::uint32_t round = 0; round < 8; ++round) {
    const Tag meeting{.bundle = 2 * round, .operation = kClockOperation};
    BP_TRY(transport.all_gather_messages_blocking({}, meeting, deadline));
    const double before = unix_seconds();
    const Clock::time_point start = Clock::now();
    char mine[40];
    const int size = std::snprintf(mine, sizeof mine, "%.6f", before);
    const Tag tag{.bundle = 2 * round + 1, .operation = kClockOperation};
    BP_ASSIGN(const auto clocks,
              transport.all_gather_messages_blocking(
                  {reinterpret_cast<const std::uint8_t*>(mine), static_cast<std::size_t>(size)},
                  tag, deadline));
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    if (took >= least) continue;
    least = took;
    for (std::size_t player = 0; player < players; ++player) {
      const std::string text(clocks[player].begin(), clocks[player].end());
      double theirs = 0;
      (void)std::from_chars(text.data(), text.data() + text.size(), theirs);
      skew[player] = theirs - before;
    }
  }
  for (std::size_t player = 0; player < players; ++player) {
    if (static_cast<int>(player) == transport.rank()) continue;
    // Its clock was read between the meeting's end there and its message's arrival here.
    compare_clocks(skew[player], 2 * least, names[player], findings);
  }
  return {};
}

Result<void> meet(Transport& transport, const std::vector<std::string>& names,
                  const SelfReport& self, const DoctorNeeds& needs, Deadline deadline,
                  Findings& findings) {
  const std::string mine = encode(self);
  BP_ASSIGN(const auto reports,
            transport.all_gather_messages_blocking(
                {reinterpret_cast<const std::uint8_t*>(mine.data()), mine.size()},
                {.operation = kReportOperation}, deadline));
  std::vector<Fields> decoded;
  for (const auto& report : reports) decoded.push_back(decode(report));
  for (std::size_t player = 0; player < decoded.size(); ++player) {
    if (static_cast<int>(player) == transport.rank()) continue;
    compare(decoded[player], self, names[player], findings);
  }
  compare_pools(decoded, transport.rank(), needs, names, findings);
  BP_TRY(examine_clocks(transport, names, deadline, findings));
  // Nobody leaves while another still needs it.
  BP_TRY(transport.all_gather_messages_blocking({}, {.operation = kEndOperation}, deadline));
  return {};
}

}  // namespace

void examine_players_blocking(const Launch& launch, const Roster& roster, int listen_descriptor,
                              const NetworkConfig& network, const SelfReport& self,
                              const DoctorNeeds& needs, Findings& findings) {
  auto options = player_tls_options(Home{launch.home}, roster, launch.rank, launch.peers, network);
  if (!options.ok()) return findings.fail("players", options.error());
  options->listen_descriptor = listen_descriptor;
  options->hello.assign(kDomain, kDomain + sizeof(kDomain));
  options->check_hello = [](int /*player*/, std::span<const std::uint8_t> hello) -> Result<void> {
    if (std::equal(hello.begin(), hello.end(), kDomain, kDomain + sizeof(kDomain))) return {};
    return make_error(ErrorCode::kRosterMismatch,
                      "one runs `beaverpond doctor`, the other a job or another release; run the "
                      "doctor on all players at once");
  };
  const Deadline deadline = Clock::now() + options->connect_timeout;
  auto connected = connect_tls_blocking(*options);
  if (!connected.ok()) return findings.fail("players", connected.error());
  std::vector<std::string> names;
  for (std::size_t player = 0; player < options->players.size(); ++player) {
    const TlsPlayer& other = options->players[player];
    names.push_back("player " + std::to_string(player) + " (" + other.name + ")");
    if (static_cast<int>(player) == launch.rank) continue;
    findings.ok("players", names.back() +
                               " is connected over TLS 1.3, with the certificate that "
                               "the roster pins");
  }
  const Result<void> met =
      meet(*connected->transport, names, self, needs,
           std::max<Deadline>(deadline, Clock::now() + milliseconds(5000)), findings);
  if (!met.ok()) findings.fail("players", met.error());
}

}  // namespace beaverpond
