#include "online/nn/job.h"

#include <algorithm>

#include "offline/plan/file.h"
#include "online/nn/job_sections.h"
#include "online/nn/model.h"

namespace beaverpond {
namespace {

constexpr std::uint32_t kMaxPlayers = 64;  // a receiver mask is one word
constexpr std::uint32_t kMaxTimeoutMs = 3'600'000;
constexpr std::uint64_t kMaxBundles = std::uint64_t{1} << 32;

class JobReader {
 public:
  explicit JobReader(ConfigContext& context) : context_(context) {}

  void read(const ConfigNode& root) {
    ConfigSection top(context_, &root, "",
                      {"job", "fixed_point", "model", "layer", "training", "data", "reveal", "pool",
                       "network", "checkpoint"});
    top_ = &top;
    read_job_table();
    read_fixed_point();
    read_model(context_, top, job_);
    read_training(context_, top, job_);
    read_data(context_, top, job_);
    read_reveal();
    read_pool();
    read_network();
    read_checkpoint();
    top_ = nullptr;
  }

  Job take() { return std::move(job_); }

 private:
  ConfigSection section(const char* name, std::initializer_list<std::string_view> known) {
    return ConfigSection(context_, top_->find(name), name, known);
  }

  void read_job_table() {
    ConfigSection s =
        required_section(context_, *top_, "job", {"name", "seed", "players", "protocol"});
    job_.name = s.text("name");
    const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    if (std::any_of(job_.name.begin(), job_.name.end(), control)) {
      s.fail("name", "control characters", "use printable ones");
    }
    job_.seed = s.integer("seed", 0, INT64_MAX);
    job_.players = u32(s.integer("players", 2, kMaxPlayers));
    read_protocol(s);
  }

  void read_protocol(ConfigSection& s) {
    const std::string protocol = s.text("protocol", to_string(job_.protocol));
    for (const Protocol known : {Protocol::kSecurenn, Protocol::kSecurennFused}) {
      if (protocol == to_string(known)) job_.protocol = known;
    }
    if (protocol != to_string(job_.protocol)) {
      s.fail("protocol",
             "unknown protocol '" + protocol + "'" +
                 did_you_mean(protocol, {"additive", "securenn", "securenn-fused"}),
             "use \"additive\", \"securenn\" or \"securenn-fused\"");
    } else if (job_.protocol != Protocol::kAdditive && job_.players != 3) {
      s.fail("protocol", "SecureNN is a protocol of three players", "set players = 3");
    }
  }

  void read_fixed_point() {
    ConfigSection s = section("fixed_point", {"fraction_bits", "master_extra_bits"});
    FixedPoint& fixed = job_.fixed_point;
    fixed.fraction_bits = static_cast<int>(s.integer("fraction_bits", 8, 24, 16));
    const int room = kMaxMasterScale - 2 * fixed.fraction_bits;
    const auto otherwise = static_cast<std::uint64_t>(std::min(room, 16));
    fixed.master_extra_bits =
        static_cast<int>(s.integer("master_extra_bits", 0, kMaxMasterExtraBits, otherwise));
    if (fixed.master_scale_bits() > kMaxMasterScale) {
      s.fail("master_extra_bits",
             "master weights at scale 2*fraction_bits + master_extra_bits = " +
                 std::to_string(fixed.master_scale_bits()) + " exceed 54 bits",
             "use at most " + std::to_string(room) +
                 " with fraction_bits = " + std::to_string(fixed.fraction_bits));
    }
  }

  void read_reveal() {
    ConfigSection s =
        section("reveal", {"loss_every", "weights", "predictions", "answer", "verify"});
    job_.reveal.loss_every = s.integer("loss_every", 0, kMaxSteps, 0);
    job_.reveal.weights = read_players(s, "weights", {});
    job_.reveal.predictions = read_players(s, "predictions", {"player0"});
    const std::string answer = s.text("answer", "class");
    if (answer == "scores") job_.reveal.answer = Answer::kScores;
    if (answer == "probabilities") job_.reveal.answer = Answer::kProbabilities;
    if (answer != "class" && answer != "scores" && answer != "probabilities") {
      s.fail("answer",
             "unknown answer '" + answer + "'" +
                 did_you_mean(answer, {"class", "scores", "probabilities"}),
             "use \"class\", \"scores\" or \"probabilities\"");
    }
    job_.reveal.verify = s.boolean("verify", false);
  }

  std::vector<std::uint32_t> read_players(ConfigSection& s, const char* key,
                                          std::vector<std::string> fallback) {
    std::vector<std::uint32_t> players;
    for (const std::string& name : s.texts(key, std::move(fallback))) {
      std::uint32_t player = 0;
      while (player < job_.players && name != "player" + std::to_string(player)) ++player;
      if (player == job_.players) {
        s.fail(key, "'" + name + "' is not a player",
               "use \"player0\"..\"player" + std::to_string(job_.players - 1) + "\"");
      } else if (std::find(players.begin(), players.end(), player) == players.end()) {
        players.push_back(player);
      }
    }
    std::sort(players.begin(), players.end());
    return players;
  }

  void read_pool() {
    ConfigSection s = section(
        "pool", {"low", "high", "lease_steps", "disk_budget", "rollback", "prg", "profile"});
    PoolConfig& pool = job_.pool;
    pool.low = s.integer("low", 1, kMaxBundles, pool.low);
    pool.high = s.integer("high", 1, kMaxBundles, std::max(pool.high, pool.low));
    if (pool.high < pool.low) s.fail("high", "below low", "let low <= high");
    pool.lease_steps = s.integer("lease_steps", 1, kMaxBundles, pool.lease_steps);
    pool.disk_budget.value = s.byte_size("disk_budget", pool.disk_budget.value);
    const std::string rollback = s.text("rollback", "burn");
    if (rollback != "burn" && rollback != "refuse") {
      s.fail("rollback", "'" + rollback + "' is neither", "use \"burn\" or \"refuse\"");
    }
    pool.refuses_rollback = rollback == "refuse";
    const std::string prg = s.text("prg", to_string(pool.prg));
    if (prg == to_string(PrgKind::kChaCha20)) {
      pool.prg = PrgKind::kChaCha20;
    } else if (prg != to_string(PrgKind::kAes128Ctr)) {
      s.fail("prg", "'" + prg + "' is neither", "use \"aes128-ctr\" or \"chacha20\"");
    }
    const std::string profile = s.text("profile", to_string(CompareProfile::kLan));
    if (profile == "auto") {
      pool.profile.reset();
    } else if (profile == to_string(CompareProfile::kWan)) {
      pool.profile = CompareProfile::kWan;
    } else if (profile != to_string(CompareProfile::kLan)) {
      s.fail("profile", "'" + profile + "' is none", "use \"lan\", \"wan\" or \"auto\"");
    }
    if (job_.protocol != Protocol::kAdditive && pool.profile != CompareProfile::kLan) {
      s.fail("profile", std::string("the protocol ") + to_string(job_.protocol) + " has none",
             "leave it out");
    }
  }

  void read_network() {
    ConfigSection s = section("network", {"connect_timeout_ms", "peer_timeout_ms", "heartbeat_ms",
                                          "reconnect_ms", "pool_timeout_ms", "round_timeout_ms"});
    NetworkConfig& network = job_.network;
    const auto timeout = [&s](const char* key, std::uint32_t& value) {
      value = u32(s.integer(key, 1, kMaxTimeoutMs, value));
    };
    timeout("connect_timeout_ms", network.connect_timeout_ms);
    timeout("peer_timeout_ms", network.peer_timeout_ms);
    timeout("heartbeat_ms", network.heartbeat_ms);
    network.reconnect_ms = u32(s.integer("reconnect_ms", 0, kMaxTimeoutMs, network.reconnect_ms));
    timeout("pool_timeout_ms", network.pool_timeout_ms);
    timeout("round_timeout_ms", network.round_timeout_ms);
    if (network.heartbeat_ms >= network.peer_timeout_ms) {
      s.fail("heartbeat_ms", "not below peer_timeout_ms",
             "a live peer must be heard of before it is given up: use a third of it or less");
    }
  }

  void read_checkpoint() {
    ConfigSection s = section("checkpoint", {"every", "dir", "rejoin_seconds"});
    CheckpointConfig& checkpoint = job_.checkpoint;
    checkpoint.every = s.integer("every", 0, kMaxSteps, 0);
    checkpoint.dir = s.text("dir", checkpoint.dir);
    if (checkpoint.dir.empty()) s.fail("dir", "empty", "name a folder");
    checkpoint.rejoin_seconds = s.integer("rejoin_seconds", 0, kMaxRejoinSeconds, 0);
    if (checkpoint.rejoin_seconds > 0 && checkpoint.every == 0) {
      s.fail("rejoin_seconds", "without checkpoints to go on from", "set every as well");
    }
  }

  ConfigContext& context_;
  ConfigSection* top_ = nullptr;
  Job job_;
};

}  // namespace

ConfigSection required_section(ConfigContext& context, ConfigSection& top, const char* name,
                               std::initializer_list<std::string_view> known) {
  if (!top.has(name) && !context.error.has_value()) {
    context.fail(0, std::string("[") + name + "]", "missing", "add this table");
  }
  return ConfigSection(context, top.find(name), name, known);
}

std::uint64_t TrainingConfig::multiplier_of_step(std::uint64_t step) const {
  std::uint64_t multiplier = 1;
  for (const RateChange& rate : rates) {
    if (rate.from_step <= step) multiplier = rate.multiplier;
  }
  return multiplier;
}

Result<Job> parse_job(const std::string& text, const std::string& file) {
  BP_ASSIGN(const ConfigNode root, parse_toml(text, file));
  ConfigContext context{file, std::nullopt};
  JobReader reader(context);
  reader.read(root);
  if (context.error.has_value()) return *context.error;
  Job job = reader.take();
  job.file = file;
  // What only the whole model shows: a kernel that does not fit, a tensor that is too large.
  if (const auto parameters = model_parameters(job.model, job.fixed_point); !parameters.ok()) {
    Error error = parameters.error();
    error.message = file + ": [model]: " + error.message;
    return error;
  }
  return job;
}

Result<Job> read_job(const std::string& path) {
  const Result<std::string> text = read_small_file(path);
  if (!text.ok()) return make_error(text.error().code, "job file: " + text.error().message);
  return parse_job(*text, path);
}

}  // namespace beaverpond
