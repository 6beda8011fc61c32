#include "offline/factory/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <optional>
#include <utility>

#include "kernels/device_name.h"
#include "offline/plan/file.h"
#include "offline/plan/toml_text.h"

namespace beaverpond {

namespace {

constexpr std::int64_t kMostBundles = std::int64_t{1} << 48;

/// Reads fields of one file and remembers where they are, for its errors.
class Reader {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {
    const std::size_t slash = file_.rfind('/');
    folder_ = slash == std::string::npos ? "" : file_.substr(0, slash + 1);
  }

  Error wrong(const toml::source_region& where, const std::string& what) const {
    return make_error(ErrorCode::kConfig,
                      file_ + ":" + std::to_string(where.begin.line) + ": " + what);
  }
  Error wrong_type(const toml::node& node, const std::string& key, const char* example) const {
    return wrong(node.source(),
                 "the field '" + key + "' has the wrong type; write " + key + " = " + example);
  }

  /// The value of `key`; `missing` where there is none, or an error if that is empty too.
  Result<std::string> text(const toml::table& table, const char* key, const char* example,
                           std::optional<std::string> missing = std::nullopt) const {
    const toml::node* node = table.get(key);
    if (node == nullptr) {
      if (missing.has_value()) return *missing;
      return wrong(table.source(),
                   std::string("the field '") + key + "' is missing; add " + key + " = " + example);
    }
    const auto value = node->value_exact<std::string>();
    if (!value.has_value() || value->empty()) return wrong_type(*node, key, example);
    return *value;
  }

  Result<std::uint64_t> number(const toml::table& table, const char* key, std::int64_t largest,
                               std::uint64_t missing) const {
    const toml::node* node = table.get(key);
    if (node == nullptr) return missing;
    const auto value = node->value_exact<std::int64_t>();
    if (!value.has_value()) return wrong_type(*node, key, "16");
    if (*value < 0 || *value > largest) return out_of_range(*node, key, std::to_string(largest));
    return static_cast<std::uint64_t>(*value);
  }

  /// Seconds, or bundles a second: an integer or a decimal number.
  Result<double> decimal(const toml::table& table, const char* key) const {
    const toml::node* node = table.get(key);
    if (node == nullptr) return 0.0;
    std::optional<double> value = node->value_exact<double>();
    if (!value.has_value()) {
      const auto whole = node->value_exact<std::int64_t>();
      if (whole.has_value()) value = static_cast<double>(*whole);
    }
    if (!value.has_value()) return wrong_type(*node, key, "30.0");
    if (!(*value >= 0 && *value <= 1e9)) return out_of_range(*node, key, "1000000000");
    return *value;
  }

  /// Bytes: an integer, or a string as "500M"; K, M, G and T are powers of 1024.
  Result<std::uint64_t> size(const toml::table& table, const char* key) const {
    const toml::node* node = table.get(key);
    if (node == nullptr) return std::uint64_t{0};
    constexpr std::int64_t kMost = std::int64_t{1} << 60;
    if (node->is_integer()) return number(table, key, kMost, 0);
    const std::string value = node->value_exact<std::string>().value_or("");
    const std::size_t digits = std::min(value.find_first_not_of("0123456789"), value.size());
    if (digits == 0 || digits > 18 || value.size() - digits > 1) {
      return wrong_type(*node, key, "\"20G\"");
    }
    std::uint64_t bytes = std::stoull(value.substr(0, digits));
    if (digits < value.size()) {
      const std::size_t power = std::string_view("KMGT").find(value.back());
      if (power == std::string_view::npos) return wrong_type(*node, key, "\"20G\"");
      for (std::size_t i = 0; i <= power; ++i) {
        if (bytes > (std::uint64_t{1} << 50)) return out_of_range(*node, key, "\"1024T\"");
        bytes <<= 10;
      }
    }
    return bytes;
  }

  /// A misspelt field would otherwise be a silent default.
  Result<void> only(const toml::table& table, std::initializer_list<std::string_view> known) const {
    for (const auto& [key, value] : table) {
      if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
      std::string names;
      for (const std::string_view name : known) {
        names += (names.empty() ? "" : ", ") + std::string(name);
      }
      return wrong(key.source(), "unknown field '" + std::string(key.str()) +
                                     "'; remove it (the fields here are " + names + ")");
    }
    return {};
  }

  std::string path(const std::string& given) const {
    return given.starts_with('/') ? given : folder_ + given;
  }

 private:
  Error out_of_range(const toml::node& node, const std::string& key,
                     const std::string& largest) const {
    return wrong(node.source(), "the field '" + key + "' must lie between 0 and " + largest);
  }

  std::string file_;
  std::string folder_;
};

bool is_name(const std::string& text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

Result<ClassConfig> parse_class(const Reader& reader, const toml::table& table) {
  BP_TRY(reader.only(table, {"name", "plan", "lane", "segment_bundles", "low_bundles",
                             "high_bundles", "low_seconds", "high_seconds", "floor_per_second"}));
  ClassConfig config;
  BP_ASSIGN(config.name, reader.text(table, "name", "\"lenet\""));
  if (!is_name(config.name)) {
    return reader.wrong(table.get("name")->source(),
                        "the field 'name' must have 1 to 64 letters, digits, '-', '_' or '.'");
  }
  BP_ASSIGN(const std::string plan, reader.text(table, "plan", "\"lenet.plan\""));
  config.plan_path = reader.path(plan);
  BP_ASSIGN(const std::uint64_t lane,
            reader.number(table, "lane", std::numeric_limits<std::uint32_t>::max(), 0));
  config.lane = static_cast<std::uint32_t>(lane);
  BP_ASSIGN(config.segment_bundles, reader.number(table, "segment_bundles", 1 << 16, 0));
  Demand& demand = config.demand;
  BP_ASSIGN(demand.low_bundles, reader.number(table, "low_bundles", kMostBundles, 0));
  BP_ASSIGN(demand.high_bundles,
            reader.number(table, "high_bundles", kMostBundles, demand.low_bundles));
  BP_ASSIGN(demand.low_seconds, reader.decimal(table, "low_seconds"));
  BP_ASSIGN(demand.high_seconds, reader.decimal(table, "high_seconds"));
  BP_ASSIGN(demand.floor_per_second, reader.decimal(table, "floor_per_second"));
  if (demand.high_seconds == 0) demand.high_seconds = demand.low_seconds;
  if (demand.low_bundles == 0 && demand.low_seconds == 0) {
    return reader.wrong(table.source(), "class '" + config.name +
                                            "' has no low mark; add low_bundles = 16 or "
                                            "low_seconds = 30.0");
  }
  if (demand.high_bundles < demand.low_bundles || demand.high_seconds < demand.low_seconds) {
    return reader.wrong(table.source(), "class '" + config.name +
                                            "' has a high mark below its low mark; raise "
                                            "high_bundles or high_seconds");
  }
  return config;
}

Result<DeliveryConfig> parse_delivery(const Reader& reader, const toml::node& node) {
  const toml::table* table = node.as_table();
  if (table == nullptr) {
    return reader.wrong(node.source(), "'delivery' is not a section; write [delivery]");
  }
  BP_TRY(reader.only(*table, {"listen", "home", "spool"}));
  DeliveryConfig config;
  BP_ASSIGN(const std::string listen, reader.text(*table, "listen", "\"0.0.0.0:9471\""));
  auto address = parse_address(listen);
  if (!address.ok()) return reader.wrong(table->get("listen")->source(), address.error().message);
  config.listen = *address;
  BP_ASSIGN(const std::string home, reader.text(*table, "home", "\"factory\""));
  config.home = reader.path(home);
  BP_ASSIGN(const std::string spool, reader.text(*table, "spool", "\"spool\""));
  config.spool = reader.path(spool);
  return config;
}

Result<FactoryConfig> build_config(const Reader& reader, const toml::table& table) {
  BP_TRY(reader.only(table, {"roster", "dealer_key", "pools", "device", "threads", "disk_budget",
                             "disk_reserve", "status", "class", "delivery"}));
  FactoryConfig config;
  BP_ASSIGN(const std::string roster, reader.text(table, "roster", "\"roster.toml\""));
  config.roster_path = reader.path(roster);
  BP_ASSIGN(const std::string key, reader.text(table, "dealer_key", "\"dealer.pem\"", ""));
  if (!key.empty()) config.dealer_key_path = reader.path(key);
  const toml::array* pools = table.get_as<toml::array>("pools");
  for (std::size_t i = 0; pools != nullptr && i < pools->size(); ++i) {
    const auto folder = pools->get(i)->value_exact<std::string>();
    if (!folder.has_value() || folder->empty()) {
      return reader.wrong_type(*pools->get(i), "pools", "[\"player0/pool\", \"player1/pool\"]");
    }
    config.pool_directories.push_back(reader.path(*folder));
  }
  if (const toml::node* node = table.get("delivery")) {
    BP_ASSIGN(config.delivery, parse_delivery(reader, *node));
  }
  if (config.pool_directories.empty() != config.delivery.has_value()) {
    return reader.wrong(table.source(),
                        "the factory writes into pools of this host or delivers: add either "
                        "pools = [\"player0/pool\", ..], one folder per player in the roster's "
                        "order ('pools' is missing), or a [delivery] section, and not both");
  }
  BP_ASSIGN(config.device, reader.text(table, "device", "\"cuda:0\"", config.device));
  if (auto known = split_devices(config.device); !known.ok()) {
    return reader.wrong(table.get("device")->source(), "device: " + known.error().message);
  }
  BP_ASSIGN(const std::uint64_t threads, reader.number(table, "threads", 1024, 0));
  config.threads = static_cast<int>(threads);
  BP_ASSIGN(config.disk_budget, reader.size(table, "disk_budget"));
  BP_ASSIGN(config.disk_reserve, reader.size(table, "disk_reserve"));
  BP_ASSIGN(const std::string status, reader.text(table, "status", "\"127.0.0.1:9470\"", ""));
  if (!status.empty()) {
    auto address = parse_loopback(status);
    if (!address.ok()) return reader.wrong(table.get("status")->source(), address.error().message);
    config.status = *address;
  }
  const toml::array* classes = table.get_as<toml::array>("class");
  for (std::size_t i = 0; classes != nullptr && i < classes->size(); ++i) {
    const toml::table* section = classes->get(i)->as_table();
    if (section == nullptr) {
      return reader.wrong(classes->get(i)->source(), "'class' must be [[class]] sections");
    }
    BP_ASSIGN(ClassConfig one, parse_class(reader, *section));
    for (const ClassConfig& other : config.classes) {
      if (other.name != one.name) continue;
      return reader.wrong(section->source(),
                          "two classes have the name '" + one.name + "'; give each its own");
    }
    config.classes.push_back(std::move(one));
  }
  if (config.classes.empty()) {
    return reader.wrong(table.source(), "there is no [[class]] section; add one for each plan");
  }
  return config;
}

}  // namespace

Result<ListenAddress> parse_address(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  ListenAddress address;
  address.host = text.substr(0, std::min(colon, text.size()));
  const std::string port = colon == std::string::npos ? "" : text.substr(colon + 1);
  const bool digits = !port.empty() && port.size() <= 5 &&
                      port.find_first_not_of("0123456789") == std::string::npos;
  const int value = digits ? std::stoi(port) : -1;
  const bool brackets =
      address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']';
  if (brackets) address.host = address.host.substr(1, address.host.size() - 2);
  const bool bare_v6 = !brackets && address.host.find(':') != std::string::npos;
  if (address.host.empty() || bare_v6 || value < 0 || value > 65535) {
    return make_error(ErrorCode::kConfig,
                      "'" + text + "' is not an address; write 10.0.0.9:9471 or [fd00::9]:9471");
  }
  address.port = static_cast<std::uint16_t>(value);
  return address;
}

Result<ListenAddress> parse_loopback(const std::string& text) {
  auto address = parse_address(text);
  const bool local = address.ok() && (address->host == "127.0.0.1" || address->host == "::1" ||
                                      address->host == "localhost");
  if (local) return address;
  return make_error(ErrorCode::kConfig,
                    "'" + text +
                        "' is not an address of this host alone; the page and the metrics are "
                        "not encrypted: write 127.0.0.1:9470, or another port");
}

Result<FactoryConfig> parse_factory_config(std::string_view text, const std::string& file) {
  const Reader reader(file);
  BP_TRY(check_toml_text(text, file));
  try {
    const toml::table table = toml::parse(text, file);
    return build_config(reader, table);
  } catch (const toml::parse_error& error) {
    return reader.wrong(error.source(), "not valid TOML: " + std::string(error.description()));
  }
}

Result<FactoryConfig> read_factory_config(const std::string& path) {
  BP_ASSIGN(const std::string text, read_small_file(path));
  return parse_factory_config(text, path);
}

}  // namespace beaverpond
