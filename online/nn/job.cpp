#include "online/nn/job.h"

#include <algorithm>
#include <filesystem>

#include "offline/plan/file.h"
#include "online/nn/config_section.h"
#include "online/nn/model.h"

namespace beaverpond {
namespace {

constexpr std::uint32_t kMaxPlayers = 64;  // a receiver mask is one word
constexpr std::uint32_t kMaxSize = 65536;  // units, channels, pixels of a side
constexpr std::uint32_t kMaxBatch = 1u << 20;
constexpr std::uint64_t kMaxSteps =
    UINT32_MAX;  // an epoch, of at least one step, is one nonce word
constexpr std::uint64_t kMaxMultiplier = std::uint64_t{1} << 40;
constexpr std::uint32_t kMaxTimeoutMs = 3'600'000;
constexpr std::uint64_t kMaxBundles = std::uint64_t{1} << 32;
constexpr int kMaxMasterScale = 54;  // leaves weights room up to |W| < 256 in the domain

std::uint32_t u32(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}

std::string indexed(const std::string& name, std::size_t index) {
  return name + "[" + std::to_string(index) + "]";
}

class JobReader {
 public:
  explicit JobReader(ConfigContext& context) : context_(context) {}

  void read(const ConfigNode& root) {
    ConfigSection top(
        context_, &root, "",
        {"job", "fixed_point", "model", "layer", "training", "data", "reveal", "pool", "network"});
    top_ = &top;
    read_job_table();
    read_fixed_point();
    read_model();
    read_training();
    read_data();
    split_batch();
    read_reveal();
    read_pool();
    read_network();
    top_ = nullptr;
  }

  Job take() { return std::move(job_); }

 private:
  ConfigSection section(const char* name, std::initializer_list<std::string_view> known) {
    if (!top_->has(name) && !context_.error.has_value() && required(name)) {
      context_.fail(0, std::string("[") + name + "]", "missing", "add this table");
    }
    return ConfigSection(context_, top_->find(name), name, known);
  }

  static bool required(const std::string& name) {
    return name == "job" || name == "model" || name == "training" || name == "data";
  }

  void read_job_table() {
    ConfigSection s = section("job", {"name", "seed", "players"});
    job_.name = s.text("name");
    job_.seed = s.integer("seed", 0, INT64_MAX);
    job_.players = u32(s.integer("players", 2, kMaxPlayers));
  }

  void read_fixed_point() {
    ConfigSection s = section("fixed_point", {"fraction_bits", "master_extra_bits"});
    FixedPoint& fixed = job_.fixed_point;
    fixed.fraction_bits = static_cast<int>(s.integer("fraction_bits", 8, 24, 16));
    const int room = kMaxMasterScale - 2 * fixed.fraction_bits;
    const auto otherwise = static_cast<std::uint64_t>(std::min(room, 16));
    fixed.master_extra_bits = static_cast<int>(s.integer("master_extra_bits", 0, 40, otherwise));
    if (fixed.master_scale_bits() > kMaxMasterScale) {
      s.fail("master_extra_bits",
             "master weights at scale 2*fraction_bits + master_extra_bits = " +
                 std::to_string(fixed.master_scale_bits()) + " exceed 54 bits",
             "use at most " + std::to_string(room) +
                 " with fraction_bits = " + std::to_string(fixed.fraction_bits));
    }
  }

  void read_model() {
    ConfigSection s = section("model", {"input", "loss"});
    ModelConfig& model = job_.model;
    const std::vector<std::uint64_t> input = s.integers("input", 1, kMaxSize);
    if (input.size() == 3) {
      model.height = u32(input[0]);
      model.width = u32(input[1]);
      model.channels = u32(input[2]);
    } else {
      s.fail("input", "expected three sizes", "write [height, width, channels]");
    }
    if (s.text("loss", "squared_error") != "squared_error") {
      s.fail("loss", "unknown loss '" + s.text("loss") + "'", "use \"squared_error\"");
    }
    const std::vector<ConfigNode>& layers = top_->tables("layer");
    for (std::size_t i = 0; i < layers.size(); ++i) read_layer(layers[i], i);
    if (layers.empty()) {
      top_->fail("layer", "the model has no layers", "add [[layer]] tables, the last one dense");
    } else if (model.layers.back().kind != LayerKind::kDense) {
      context_.fail(layers.back().line, indexed("layer", layers.size() - 1),
                    "the last layer must be dense", "its units are the classes");
    }
  }

  void read_layer(const ConfigNode& node, std::size_t index) {
    const std::string path = indexed("layer", index);
    const auto kind = node.table.find("kind");
    const std::string name = kind == node.table.end() ? "" : kind->second.text;
    LayerConfig layer;
    if (name == "dense") {
      ConfigSection s(context_, &node, path, {"kind", "units"});
      layer.kind = LayerKind::kDense;
      layer.units = u32(s.integer("units", 1, kMaxSize));
    } else if (name == "conv2d") {
      ConfigSection s(context_, &node, path, {"kind", "channels", "kernel", "stride", "padding"});
      layer.kind = LayerKind::kConv2d;
      layer.channels = u32(s.integer("channels", 1, kMaxSize));
      layer.kernel = u32(s.integer("kernel", 1, 255));
      layer.stride = u32(s.integer("stride", 1, 255, 1));
      read_padding(s, layer);
    } else if (name == "relu") {
      ConfigSection s(context_, &node, path, {"kind"});
      layer.kind = LayerKind::kRelu;
      const std::vector<LayerConfig>& before = job_.model.layers;
      if (before.empty() || before.back().kind == LayerKind::kRelu) {
        context_.fail(node.line, path, "a relu must follow a conv2d or dense layer", "remove it");
      }
    } else {
      ConfigSection s(context_, &node, path,
                      {"kind", "units", "channels", "kernel", "stride", "padding"});
      s.text("kind");
      s.fail("kind",
             "unknown layer '" + name + "'" + did_you_mean(name, {"conv2d", "dense", "relu"}),
             "use \"conv2d\", \"dense\" or \"relu\"");
    }
    job_.model.layers.push_back(layer);
  }

  // One number for all sides, or [above and left, below and right].
  static void read_padding(ConfigSection& s, LayerConfig& layer) {
    const ConfigNode* node = s.find("padding");
    if (node != nullptr && node->kind == ConfigNode::Kind::kArray) {
      const std::vector<std::uint64_t> sides = s.integers("padding", 0, 254);
      if (sides.size() != 2) {
        s.fail("padding", "expected two sizes", "write one number or [before, after]");
        return;
      }
      layer.pad_before = u32(sides[0]);
      layer.pad_after = u32(sides[1]);
    } else {
      layer.pad_before = layer.pad_after = u32(s.integer("padding", 0, 254, 0));
    }
    if (layer.pad_before >= layer.kernel || layer.pad_after >= layer.kernel) {
      s.fail("padding", "not smaller than the kernel",
             "use at most " + std::to_string(layer.kernel - 1));
    }
  }

  void read_training() {
    ConfigSection s =
        section("training", {"batch", "steps", "rate", "multiplier", "learning_rate"});
    TrainingConfig& training = job_.training;
    training.batch = u32(s.integer("batch", 1, kMaxBatch));
    training.steps = s.integer("steps", 1, kMaxSteps);
    const bool single = s.has("multiplier") || s.has("learning_rate");
    const std::vector<ConfigNode>& rates = s.tables("rate");
    if (single && !rates.empty()) {
      s.fail("rate", "both a single rate and a schedule are given", "keep one of them");
    }
    if (rates.empty()) {
      training.rates.push_back({0, read_multiplier(s)});
      return;
    }
    for (std::size_t i = 0; i < rates.size(); ++i) {
      ConfigSection r(context_, &rates[i], indexed("training.rate", i),
                      {"from_step", "multiplier", "learning_rate"});
      RateChange change;
      change.from_step = r.integer("from_step", 0, kMaxSteps);
      change.multiplier = read_multiplier(r);
      const bool first = training.rates.empty();
      if (first && change.from_step != 0) {
        r.fail("from_step", "the first rate must start at step 0", "set it to 0");
      }
      if (!first && change.from_step <= training.rates.back().from_step) {
        r.fail("from_step", "not after the rate before it", "sort the rates by from_step");
      }
      training.rates.push_back(change);
    }
  }

  // `multiplier`, or the multiplier nearest to `learning_rate` = multiplier * batch * 2^-K.
  std::uint64_t read_multiplier(ConfigSection& s) {
    if (s.has("multiplier") == s.has("learning_rate")) {
      s.fail("multiplier", s.has("multiplier") ? "given together with learning_rate" : "missing",
             "give either multiplier or learning_rate");
      return 1;
    }
    if (s.has("multiplier")) return s.integer("multiplier", 1, kMaxMultiplier);
    const double wanted = s.positive_real("learning_rate");
    const double unit = static_cast<double>(job_.training.batch) /
                        static_cast<double>(std::uint64_t{1} << job_.fixed_point.master_extra_bits);
    const double exact = wanted / unit;
    if (s.failed()) return 1;
    if (exact < 0.5 || exact > static_cast<double>(kMaxMultiplier)) {
      s.fail("learning_rate", "its multiplier would be " + std::to_string(exact),
             exact < 0.5 ? "raise master_extra_bits or the rate" : "lower the rate");
      return 1;
    }
    const auto below = static_cast<std::uint64_t>(exact);
    const std::uint64_t nearest = below + (exact - static_cast<double>(below) >= 0.5 ? 1 : 0);
    job_.notes.push_back(s.field("learning_rate") + " = " + std::to_string(wanted) +
                         " becomes multiplier " + std::to_string(nearest) + ", a rate of " +
                         std::to_string(static_cast<double>(nearest) * unit));
    return nearest;
  }

  void read_data() {
    ConfigSection s = section("data", {"owner", "test_images", "test_labels"});
    const std::vector<ConfigNode>& owners = s.tables("owner");
    if (owners.empty()) s.fail("owner", "nobody owns data", "add [[data.owner]] tables");
    for (std::size_t i = 0; i < owners.size(); ++i) {
      ConfigSection o(
          context_, &owners[i], indexed("data.owner", i),
          {"player", "train_images", "train_labels", "rows", "classes", "rows_per_step"});
      read_owner(o);
    }
    job_.test_images = path(s.text("test_images", ""));
    job_.test_labels = path(s.text("test_labels", ""));
    if (job_.test_images.empty() != job_.test_labels.empty()) {
      s.fail(job_.test_images.empty() ? "test_images" : "test_labels", "missing",
             "give test_images and test_labels together");
    }
  }

  void read_owner(ConfigSection& s) {
    DataOwner owner;
    owner.player = u32(s.integer("player", 0, job_.players - 1));
    for (const DataOwner& other : job_.owners) {
      if (other.player == owner.player) {
        s.fail("player", "player " + std::to_string(owner.player) + " is listed twice",
               "keep one entry per player");
      }
    }
    owner.train_images = path(s.text("train_images"));
    owner.train_labels = path(s.text("train_labels"));
    if (s.has("rows")) {
      const std::vector<std::uint64_t> rows = s.integers("rows", 0, UINT32_MAX);
      if (rows.size() == 2 && rows[0] < rows[1]) {
        owner.rows = RowRange{u32(rows[0]), u32(rows[1])};
      } else {
        s.fail("rows", "not a range of rows", "write [begin, end] with begin < end");
      }
    }
    if (s.has("classes")) {
      const std::uint32_t classes = std::max(job_.model.classes(), 1u);
      for (const std::uint64_t label : s.integers("classes", 0, classes - 1)) {
        owner.classes.push_back(u32(label));
      }
      if (owner.classes.empty()) s.fail("classes", "empty", "list labels, or leave it out");
    }
    if (s.has("rows_per_step")) {
      owner.rows_per_step = u32(s.integer("rows_per_step", 1, job_.training.batch));
    }
    job_.owners.push_back(std::move(owner));
  }

  // What no owner claims is split evenly over the rest; lower ranks get the remainder.
  void split_batch() {
    if (context_.error.has_value()) return;
    std::sort(job_.owners.begin(), job_.owners.end(),
              [](const DataOwner& a, const DataOwner& b) { return a.player < b.player; });
    std::uint64_t claimed = 0;
    std::uint32_t open = 0;
    for (const DataOwner& owner : job_.owners) {
      claimed += owner.rows_per_step;
      open += owner.rows_per_step == 0 ? 1 : 0;
    }
    const std::uint32_t batch = job_.training.batch;
    if (claimed > batch || batch - claimed < open || (open == 0 && claimed != batch)) {
      context_.fail(0, "data.owner.rows_per_step",
                    "the owners' rows (" + std::to_string(claimed) + " given, " +
                        std::to_string(open) + " owners open) do not make up the batch of " +
                        std::to_string(batch),
                    "let them sum to training.batch, with at least one row per owner");
      return;
    }
    std::uint32_t index = 0;
    for (DataOwner& owner : job_.owners) {
      if (owner.rows_per_step == 0) {
        const std::uint32_t rest = u32(batch - claimed);
        owner.rows_per_step = rest / open + (index++ < rest % open ? 1 : 0);
      }
    }
  }

  void read_reveal() {
    ConfigSection s = section("reveal", {"loss_every", "weights", "predictions", "verify"});
    job_.reveal.loss_every = s.integer("loss_every", 0, kMaxSteps, 0);
    job_.reveal.weights = read_players(s, "weights", {});
    job_.reveal.predictions = read_players(s, "predictions", {"player0"});
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
    ConfigSection s = section("pool", {"low", "high", "lease_steps", "disk_budget"});
    PoolConfig& pool = job_.pool;
    pool.low = s.integer("low", 1, kMaxBundles, pool.low);
    pool.high = s.integer("high", 1, kMaxBundles, std::max(pool.high, pool.low));
    if (pool.high < pool.low) s.fail("high", "below low", "let low <= high");
    pool.lease_steps = s.integer("lease_steps", 1, kMaxBundles, pool.lease_steps);
    pool.disk_budget.value = s.byte_size("disk_budget", pool.disk_budget.value);
  }

  void read_network() {
    ConfigSection s = section("network", {"connect_timeout_ms", "peer_timeout_ms", "heartbeat_ms",
                                          "pool_timeout_ms", "round_timeout_ms"});
    NetworkConfig& network = job_.network;
    const auto timeout = [&s](const char* key, std::uint32_t& value) {
      value = u32(s.integer(key, 1, kMaxTimeoutMs, value));
    };
    timeout("connect_timeout_ms", network.connect_timeout_ms);
    timeout("peer_timeout_ms", network.peer_timeout_ms);
    timeout("heartbeat_ms", network.heartbeat_ms);
    timeout("pool_timeout_ms", network.pool_timeout_ms);
    timeout("round_timeout_ms", network.round_timeout_ms);
    if (network.heartbeat_ms >= network.peer_timeout_ms) {
      s.fail("heartbeat_ms", "not below peer_timeout_ms",
             "a live peer must be heard of before it is given up: use a third of it or less");
    }
  }

  std::string path(const std::string& text) const {
    if (text.empty()) return text;
    return (std::filesystem::path(context_.file).parent_path() / text).lexically_normal().string();
  }

  ConfigContext& context_;
  ConfigSection* top_ = nullptr;
  Job job_;
};

}  // namespace

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
  if (!text.ok()) return make_error(ErrorCode::kIo, "job file: " + text.error().message);
  return parse_job(*text, path);
}

}  // namespace beaverpond
