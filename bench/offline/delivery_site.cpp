#include "bench/offline/delivery_site.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "offline/factory/incoming.h"
#include "offline/plan/certificate.h"
#include "offline/pool/ledger.h"
#include "offline/pool/pool_key.h"
#include "offline/pool/pool_set.h"
#include "offline/pool/roster_identity.h"
#include "online/session/identity.h"

namespace beaverpond {
namespace {

Error io_error(const std::string& what) {
  return make_error(ErrorCode::kIo, what);
}

}  // namespace

Result<std::unique_ptr<Child>> Child::start(const std::vector<std::string>& arguments) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return io_error("no pipe: " + std::string(strerror(errno)));
  std::vector<char*> words;
  for (const std::string& word : arguments) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(ends[1], STDOUT_FILENO);
    ::execv(words[0], words.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  if (child < 0) {
    ::close(ends[0]);
    return io_error("cannot start " + arguments[0]);
  }
  return std::unique_ptr<Child>(new Child(child, ends[0]));
}

Child::~Child() {
  ::close(output_);
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  (void)wait_blocking();
}

int Child::wait_blocking() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Result<std::vector<std::string>> Child::read_lines_blocking() {
  char bytes[4096];
  const ssize_t got = ::read(output_, bytes, sizeof(bytes));
  if (got <= 0) return io_error("a program of the benchmark ended: see above");
  rest_.append(bytes, static_cast<std::size_t>(got));
  std::vector<std::string> lines;
  for (std::size_t end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n')) {
    lines.push_back(rest_.substr(0, end));
    rest_.erase(0, end + 1);
  }
  return lines;
}

double Child::cpu_seconds() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
  std::string text(std::istreambuf_iterator<char>(file), {});
  // The name, in parentheses, may hold anything; state and ten numbers come before the times.
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

DeliverySite::DeliverySite(DeliverySiteOptions options, const Plan& plan)
    : options_(std::move(options)) {
  key_.plan = plan_hash(plan);
  published_.assign(static_cast<std::size_t>(options_.players), 0);
}

std::string DeliverySite::home(std::size_t player) const {
  return options_.root + "/player" + std::to_string(player);
}

Result<std::unique_ptr<DeliverySite>> DeliverySite::start(const DeliverySiteOptions& options,
                                                          const Plan& plan) {
  std::unique_ptr<DeliverySite> site(new DeliverySite(options, plan));
  BP_TRY(site->prepare(plan));
  BP_TRY(site->start_programs());
  return site;
}

Result<void> DeliverySite::prepare(const Plan& plan) {
  BP_ASSIGN(roster_, keygen_all(options_.root, options_.players, 0));
  BP_ASSIGN(const auto keygen, Child::start({TRIPLE_FACTORY, "keygen", "--home", factory_home()}));
  while (keygen->read_lines_blocking().ok()) {
  }
  if (keygen->wait_blocking() != 0) return io_error("triple-factory keygen failed");
  RosterFactory factory;
  factory.host = "127.0.0.1";
  BP_ASSIGN(factory.certificate, certificate_fingerprint(factory_home() + "/cert.pem"));
  roster_.factory = factory;
  BP_TRY(write_rosters());
  BP_TRY(write_plan_file(plan, factory_home() + "/x.plan"));
  std::ofstream(factory_home() + "/factory.toml")
      << "roster = \"roster.toml\"\ndevice = \"cpu\"\nthreads = " << options_.threads << "\n"
      << "[delivery]\nlisten = \"127.0.0.1:0\"\nhome = \".\"\nspool = \"spool\"\n"
      << "[[class]]\nname = \"bench\"\nplan = \"x.plan\"\n"
      << "segment_bundles = " << options_.segment_bundles << "\n"
      << "low_bundles = " << options_.ahead_bundles << "\n"
      << "high_bundles = " << options_.ahead_bundles << "\n";
  return {};
}

Result<void> DeliverySite::write_rosters() const {
  BP_TRY(write_roster_file(factory_home() + "/roster.toml", roster_));
  for (std::size_t player = 0; player < published_.size(); ++player) {
    BP_TRY(write_roster_file(home(player) + "/roster.toml", roster_));
  }
  return {};
}

/// The factory takes any port and says which; the players' rosters then name it.
Result<void> DeliverySite::start_programs() {
  BP_ASSIGN(factory_, Child::start({TRIPLE_FACTORY, "serve", "--json", "--config",
                                    factory_home() + "/factory.toml"}));
  while (roster_.factory->port == 0) {
    BP_ASSIGN(const auto lines, factory_->read_lines_blocking());
    for (const std::string& line : lines) {
      const auto event = nlohmann::json::parse(line);
      if (event.value("factory", "") != "listening") continue;
      const std::string url = event.at("url");
      roster_.factory->port = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
    }
  }
  BP_TRY(write_rosters());
  for (std::size_t player = 0; player < published_.size(); ++player) {
    BP_ASSIGN(auto pull, Child::start({TRIPLE_FACTORY, "pull", "--json", "--home", home(player)}));
    pulls_.push_back(std::move(pull));
  }
  return {};
}

void DeliverySite::take(std::size_t player, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    const auto event = nlohmann::json::parse(line);
    if (event.value("pull", "") != "published") continue;
    const std::uint64_t first = event.at("first");
    const std::uint64_t count = event.at("count");
    published_[player] = std::max(published_[player], first + count);
  }
}

Result<void> DeliverySite::spend(std::uint64_t end) {
  for (int player = 0; player < options_.players; ++player) {
    const std::string pool = home(static_cast<std::size_t>(player)) + "/pool";
    BP_ASSIGN(Ledger ledger, Ledger::open(storage_, lane_directory(pool, key_),
                                          pool_identity(roster_, player), key_));
    BP_TRY(ledger.advance_blocking(end, std::vector<std::uint64_t>(published_.size())));
  }
  spent_ = end;
  return {};
}

Result<Delivered> DeliverySite::wait_for_more(std::chrono::steady_clock::time_point deadline) {
  while (true) {
    std::vector<pollfd> outputs{{factory_->output(), POLLIN, 0}};
    for (const auto& pull : pulls_) outputs.push_back({pull->output(), POLLIN, 0});
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    const int ready =
        ::poll(outputs.data(), outputs.size(), static_cast<int>(std::max<long>(left.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return make_error(ErrorCode::kTimeout, "the players get no more bundles");
    if (outputs[0].revents != 0) BP_TRY(factory_->read_lines_blocking());
    for (std::size_t player = 0; player < pulls_.size(); ++player) {
      if (outputs[player + 1].revents == 0) continue;
      BP_ASSIGN(const auto lines, pulls_[player]->read_lines_blocking());
      take(player, lines);
    }
    Delivered delivered;
    delivered.bundles = *std::min_element(published_.begin(), published_.end());
    if (delivered.bundles <= spent_) continue;
    delivered.when = std::chrono::steady_clock::now();
    delivered.factory_cpu_seconds = factory_->cpu_seconds();
    for (const auto& pull : pulls_) delivered.players_cpu_seconds += pull->cpu_seconds();
    BP_TRY(spend(delivered.bundles));
    return delivered;
  }
}

void DeliverySite::stop() {
  pulls_.clear();
  factory_.reset();
}

Result<std::uint64_t> DeliverySite::verify() {
  std::vector<std::vector<PublishedRange>> by_player;
  for (int player = 0; player < options_.players; ++player) {
    const std::string folder =
        lane_directory(home(static_cast<std::size_t>(player)) + "/pool", key_);
    BP_ASSIGN(auto ranges, list_ranges(storage_, folder, kSegmentSuffix));
    by_player.push_back(std::move(ranges));
  }
  const std::vector<PublishedRange> common = common_ranges(by_player);
  std::uint64_t bundles = 0;
  for (const PublishedRange& range : common) {
    if (range.first != bundles) return io_error("bundles are missing before " + range.str());
    bundles = range.end();
    for (int player = 0; player < options_.players; ++player) {
      const std::string pool = home(static_cast<std::size_t>(player)) + "/pool";
      BP_ASSIGN(const PoolKey key, PoolKey::read(storage_, pool_key_path(pool)));
      const SegmentAccess access{roster_.dealer_key, &key, nullptr};
      BP_TRY(check_segment(storage_, pool_identity(roster_, player), access,
                           lane_directory(pool, key_) + "/" + segment_name(range, kSegmentSuffix),
                           {key_, range}));
    }
  }
  return bundles;
}

}  // namespace beaverpond
