#include "online/nn/config_section.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace beaverpond {
namespace {

// Levenshtein's distance, with a swap of neighbours counted once: the commonest typing mistake.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitute = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, substitute});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

std::string range_text(std::uint64_t low, std::uint64_t high) {
  return std::to_string(low).append("..").append(std::to_string(high));
}

struct ByteUnit {
  std::string_view name;
  int shift;
};
constexpr std::array<ByteUnit, 4> kByteUnits{{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}}};

// "512MiB" as bytes; nothing when it is not of that form.
std::optional<std::uint64_t> parse_bytes(const std::string& text) {
  std::size_t digits = 0;
  std::uint64_t value = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9' && digits < 7) {
    value = value * 10 + static_cast<std::uint64_t>(text[digits++] - '0');
  }
  if (digits == 0) return std::nullopt;
  for (const ByteUnit& unit : kByteUnits) {
    if (std::string_view(text).substr(digits) == unit.name) return value << unit.shift;
  }
  return std::nullopt;
}

}  // namespace

std::string number_text(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g", value);
  return text.data();
}

std::string did_you_mean(std::string_view word, const std::vector<std::string_view>& known) {
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string_view candidate : known) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance && distance < candidate.size()) {
      best = candidate;
      best_distance = distance;
    }
  }
  if (best.empty()) return "";
  std::string text = " (did you mean '";
  text.append(best);
  return text.append("'?)");
}

void ConfigContext::fail(std::uint32_t line, const std::string& field, const std::string& what,
                         const std::string& remedy) {
  if (error.has_value()) return;
  std::string message = file;
  if (line != 0) message.append(":").append(std::to_string(line));
  message += ": " + field + ": " + what;
  if (!remedy.empty()) message += "; " + remedy;
  error = make_error(ErrorCode::kConfig, message);
}

ConfigSection::ConfigSection(ConfigContext& context, const ConfigNode* node, std::string path,
                             std::initializer_list<std::string_view> known)
    : context_(context), node_(node), path_(std::move(path)) {
  if (node_ == nullptr) return;
  if (node_->kind != ConfigNode::Kind::kTable) {
    context_.fail(node_->line, path_,
                  std::string("expected a table, found ") + to_string(node_->kind),
                  "write it as [" + path_ + "]");
    node_ = nullptr;
    return;
  }
  const std::vector<std::string_view> names(known);
  for (const auto& [key, value] : node_->table) {
    if (std::find(names.begin(), names.end(), key) != names.end()) continue;
    std::string list;
    for (const std::string_view name : names) {
      if (!list.empty()) list += ", ";
      list += name;
    }
    context_.fail(value.line, field(key), "unknown key" + did_you_mean(key, names),
                  "known here: " + list);
  }
}

const ConfigNode* ConfigSection::find(std::string_view key) const {
  if (node_ == nullptr) return nullptr;
  const auto it = node_->table.find(std::string(key));
  return it == node_->table.end() ? nullptr : &it->second;
}

std::uint32_t ConfigSection::line_of(std::string_view key) const {
  if (const ConfigNode* node = find(key)) return node->line;
  return node_ == nullptr ? 0 : node_->line;
}

std::string ConfigSection::field(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

void ConfigSection::fail(std::string_view key, const std::string& what, const std::string& remedy) {
  context_.fail(line_of(key), field(key), what, remedy);
}

const ConfigNode* ConfigSection::want(std::string_view key, ConfigNode::Kind kind, bool required) {
  const ConfigNode* node = find(key);
  if (node == nullptr) {
    if (required) {
      fail(key, "missing", std::string("add it: ") + to_string(kind));
    }
    return nullptr;
  }
  if (node->kind != kind) {
    fail(key, std::string("expected ") + to_string(kind) + ", found " + to_string(node->kind), "");
    return nullptr;
  }
  return node;
}

bool ConfigSection::in_range(const ConfigNode& node, std::string_view key, std::uint64_t low,
                             std::uint64_t high) {
  if (node.kind != ConfigNode::Kind::kInteger) {
    fail(key, std::string("expected integers, found ") + to_string(node.kind), "");
    return false;
  }
  if (node.integer < 0 || static_cast<std::uint64_t>(node.integer) < low ||
      static_cast<std::uint64_t>(node.integer) > high) {
    fail(key, std::to_string(node.integer) + " is out of range",
         "use a value in " + range_text(low, high));
    return false;
  }
  return true;
}

std::uint64_t ConfigSection::integer(std::string_view key, std::uint64_t low, std::uint64_t high,
                                     std::optional<std::uint64_t> fallback) {
  const std::uint64_t otherwise = fallback.value_or(low);
  const ConfigNode* node = want(key, ConfigNode::Kind::kInteger, !fallback.has_value());
  if (node == nullptr || !in_range(*node, key, low, high)) return otherwise;
  return static_cast<std::uint64_t>(node->integer);
}

double ConfigSection::positive_real(std::string_view key) {
  const ConfigNode* node = find(key);
  double value = 0;
  if (node != nullptr && node->kind == ConfigNode::Kind::kInteger) {
    value = static_cast<double>(node->integer);
  } else {
    node = want(key, ConfigNode::Kind::kFloat, true);
    if (node == nullptr) return 1;
    value = node->real;
  }
  // Written so that a NaN fails too.
  if (!(value > 0 && value < 1e9)) {
    fail(key, "not a positive number", "use a value above 0 and below 1e9");
    return 1;
  }
  return value;
}

std::vector<double> ConfigSection::reals(std::string_view key) {
  const ConfigNode* node = find(key);
  if (node == nullptr) return {};
  std::vector<double> values;
  const bool list = node->kind == ConfigNode::Kind::kArray;
  for (std::size_t i = 0; i < (list ? node->array.size() : 1); ++i) {
    const ConfigNode& item = list ? node->array[i] : *node;
    if (item.kind != ConfigNode::Kind::kInteger && item.kind != ConfigNode::Kind::kFloat) {
      fail(key, std::string("expected numbers, found ") + to_string(item.kind), "");
      return {};
    }
    const bool whole = item.kind == ConfigNode::Kind::kInteger;
    const double value = whole ? static_cast<double>(item.integer) : item.real;
    // Written so that a NaN fails too.
    if (!(value > -1e15 && value < 1e15)) {
      fail(key, "not a number below 1e15 in size", "use ordinary numbers");
      return {};
    }
    values.push_back(value);
  }
  if (values.empty()) fail(key, "empty", "give it a number, or leave it out");
  return values;
}

bool ConfigSection::boolean(std::string_view key, bool fallback) {
  const ConfigNode* node = want(key, ConfigNode::Kind::kBool, false);
  return node == nullptr ? fallback : node->boolean;
}

std::string ConfigSection::text(std::string_view key, const std::optional<std::string>& fallback) {
  const ConfigNode* node = want(key, ConfigNode::Kind::kString, !fallback.has_value());
  if (node == nullptr) return fallback.value_or("");
  if (node->text.empty()) fail(key, "empty", "give it a value");
  return node->text;
}

std::vector<std::uint64_t> ConfigSection::integers(std::string_view key, std::uint64_t low,
                                                   std::uint64_t high) {
  std::vector<std::uint64_t> values;
  const ConfigNode* node = want(key, ConfigNode::Kind::kArray, true);
  if (node == nullptr) return values;
  for (const ConfigNode& item : node->array) {
    if (!in_range(item, key, low, high)) return {};
    values.push_back(static_cast<std::uint64_t>(item.integer));
  }
  return values;
}

std::vector<std::string> ConfigSection::texts(std::string_view key,
                                              std::vector<std::string> fallback) {
  const ConfigNode* node = want(key, ConfigNode::Kind::kArray, false);
  if (node == nullptr) return fallback;
  std::vector<std::string> values;
  for (const ConfigNode& item : node->array) {
    if (item.kind != ConfigNode::Kind::kString) {
      fail(key, std::string("expected strings, found ") + to_string(item.kind), "");
      return fallback;
    }
    values.push_back(item.text);
  }
  return values;
}

const std::vector<ConfigNode>& ConfigSection::tables(std::string_view key) {
  static const std::vector<ConfigNode> kNone;
  const ConfigNode* node = find(key);
  if (node == nullptr) return kNone;
  const bool all_tables =
      node->kind == ConfigNode::Kind::kArray &&
      std::all_of(node->array.begin(), node->array.end(),
                  [](const ConfigNode& item) { return item.kind == ConfigNode::Kind::kTable; });
  if (!all_tables) {
    fail(key, std::string("expected a list of tables, found ") + to_string(node->kind),
         "write each as [[" + field(key) + "]]");
    return kNone;
  }
  return node->array;
}

std::uint64_t ConfigSection::byte_size(std::string_view key, std::uint64_t fallback) {
  const ConfigNode* node = find(key);
  if (node == nullptr) return fallback;
  if (node->kind == ConfigNode::Kind::kInteger) {
    return in_range(*node, key, 1, std::uint64_t{1} << 60)
               ? static_cast<std::uint64_t>(node->integer)
               : fallback;
  }
  node = want(key, ConfigNode::Kind::kString, false);
  if (node == nullptr) return fallback;
  const std::optional<std::uint64_t> bytes = parse_bytes(node->text);
  if (!bytes.has_value() || *bytes == 0) {
    fail(key, "'" + node->text + "' is not a size", "write bytes, or like \"512MiB\", \"2GiB\"");
    return fallback;
  }
  return *bytes;
}

}  // namespace beaverpond
