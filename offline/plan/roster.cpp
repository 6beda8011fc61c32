// The only source that includes toml++.
#include "offline/plan/roster.h"

#include <toml++/toml.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "offline/plan/file.h"
#include "offline/plan/toml_text.h"

namespace beaverpond {

namespace {

/// Reads fields and remembers where: the errors of one file.
class Reader {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {}

  Error wrong(const toml::source_region& where, const std::string& what) const {
    return make_error(ErrorCode::kConfig,
                      file_ + ":" + std::to_string(where.begin.line) + ": " + what);
  }

  /// The value of `key`, of type T.
  template <class T>
  Result<T> get(const toml::table& table, const char* key, const char* example) const {
    const toml::node* node = table.get(key);
    if (node == nullptr) {
      return wrong(table.source(),
                   std::string("the field '") + key + "' is missing; add " + key + " = " + example);
    }
    const std::optional<T> value = node->value_exact<T>();
    if (!value.has_value()) {
      return wrong(node->source(), std::string("the field '") + key +
                                       "' has the wrong type; write " + key + " = " + example);
    }
    return *value;
  }

  Result<std::uint64_t> number(const toml::table& table, const char* key, std::int64_t largest,
                               const char* example) const {
    BP_ASSIGN(const std::int64_t value, get<std::int64_t>(table, key, example));
    if (value < 0 || value > largest) {
      return wrong(
          table.get(key)->source(),
          std::string("the field '") + key + "' must lie between 0 and " + std::to_string(largest));
    }
    return static_cast<std::uint64_t>(value);
  }

  Result<void> hex(const toml::table& table, const char* key, std::span<std::uint8_t> to,
                   const char* printed_by = "beaverpond keygen") const {
    const std::string example =
        std::string("\"<hexadecimal digits>\", which `") + printed_by + "` prints";
    BP_ASSIGN(const std::string text, get<std::string>(table, key, example.c_str()));
    const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c - 'a' + 10; };
    const bool valid = text.size() == to.size() * 2 &&
                       text.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!valid) {
      return wrong(table.get(key)->source(), std::string("the field '") + key + "' must have " +
                                                 std::to_string(to.size() * 2) +
                                                 " lower-case hexadecimal digits; copy it from "
                                                 "what `" +
                                                 printed_by + "` printed");
    }
    for (std::size_t i = 0; i < to.size(); ++i) {
      to[i] = static_cast<std::uint8_t>(digit(text[2 * i]) * 16 + digit(text[2 * i + 1]));
    }
    return {};
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

 private:
  const std::string file_;
};

bool printable(const std::string& text) {
  return !text.empty() && text.size() <= 255 && std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c < 0x7f && c != '"' && c != '\\';
  });
}

Result<RosterPlayer> parse_player(const Reader& reader, const toml::table& table) {
  BP_TRY(reader.only(table, {"name", "host", "port", "certificate", "pool_key"}));
  RosterPlayer player;
  BP_ASSIGN(player.name, reader.get<std::string>(table, "name", "\"player0\""));
  BP_ASSIGN(player.host, reader.get<std::string>(table, "host", "\"10.0.0.1\""));
  for (const char* key : {"name", "host"}) {
    if (printable(key == std::string_view("name") ? player.name : player.host)) continue;
    return reader.wrong(table.get(key)->source(),
                        std::string("the field '") + key +
                            "' must have 1 to 255 printable ASCII characters, no spaces or quotes");
  }
  BP_ASSIGN(const std::uint64_t port, reader.number(table, "port", 65'535, "7470"));
  player.port = static_cast<std::uint16_t>(port);
  BP_TRY(reader.hex(table, "certificate", player.certificate));
  BP_TRY(reader.hex(table, "pool_key", player.pool_key));
  return player;
}

/// What `player` shares with an earlier one and must not; empty when all is well.
std::string conflict(const RosterPlayer& earlier, const RosterPlayer& player) {
  if (earlier.name == player.name) return "the name '" + player.name + "'; give each its own";
  if (earlier.certificate == player.certificate) {
    return "the certificate; each player makes its own with `beaverpond keygen`";
  }
  if (earlier.pool_key == player.pool_key) {
    return "the pool_key; each player makes its own with `beaverpond keygen`";
  }
  if (player.port != 0 && earlier.host == player.host && earlier.port == player.port) {
    return "host " + player.host + " and port " + std::to_string(player.port) +
           "; give one of them another port";
  }
  return "";
}

Result<RosterFactory> parse_factory(const Reader& reader, const toml::node& node) {
  const toml::table* table = node.as_table();
  if (table == nullptr) {
    return reader.wrong(node.source(), "'factory' is not a section; write [factory]");
  }
  BP_TRY(reader.only(*table, {"host", "port", "certificate"}));
  RosterFactory factory;
  BP_ASSIGN(factory.host, reader.get<std::string>(*table, "host", "\"10.0.0.9\""));
  if (!printable(factory.host)) {
    return reader.wrong(table->get("host")->source(),
                        "the field 'host' must have 1 to 255 printable ASCII characters, no "
                        "spaces or quotes");
  }
  BP_ASSIGN(const std::uint64_t port, reader.number(*table, "port", 65'535, "9471"));
  factory.port = static_cast<std::uint16_t>(port);
  BP_TRY(reader.hex(*table, "certificate", factory.certificate));
  return factory;
}

Result<Roster> build_roster(const Reader& reader, const toml::table& table) {
  BP_TRY(reader.only(
      table, {"pool_id", "epoch", "dealer_key", "trusted_fabric", "player", "factory"}));
  Roster roster;
  BP_TRY(reader.hex(table, "pool_id", roster.pool_id));
  BP_ASSIGN(roster.epoch,
            reader.number(table, "epoch", std::numeric_limits<std::int64_t>::max(), "1"));
  BP_TRY(reader.hex(table, "dealer_key", roster.dealer_key, "triple-factory keygen"));
  if (table.contains("trusted_fabric")) {
    BP_ASSIGN(roster.trusted_fabric, reader.get<bool>(table, "trusted_fabric", "false"));
  }
  if (const toml::node* node = table.get("factory")) {
    BP_ASSIGN(roster.factory, parse_factory(reader, *node));
  }
  const toml::array* players = table.get_as<toml::array>("player");
  const std::size_t count = players == nullptr ? 0 : players->size();
  if (count < Roster::kMinPlayers || count > Roster::kMaxPlayers) {
    return reader.wrong(table.source(), "there are " + std::to_string(count) +
                                            " [[player]] sections; write one for each of the 2 to "
                                            "64 players");
  }
  for (const toml::node& node : *players) {
    const toml::table* section = node.as_table();
    if (section == nullptr) {
      return reader.wrong(node.source(), "'player' is not a section; write [[player]]");
    }
    BP_ASSIGN(RosterPlayer player, parse_player(reader, *section));
    for (std::size_t i = 0; i < roster.players.size(); ++i) {
      const std::string shared = conflict(roster.players[i], player);
      if (shared.empty()) continue;
      return reader.wrong(section->source(), "players " + std::to_string(i) + " and " +
                                                 std::to_string(roster.players.size()) + " share " +
                                                 shared);
    }
    roster.players.push_back(std::move(player));
  }
  return roster;
}

void append_number(std::vector<std::uint8_t>& bytes, std::uint64_t value) {
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

}  // namespace

Result<Roster> parse_roster(std::string_view text, const std::string& file) {
  const Reader reader(file);
  BP_TRY(check_toml_text(text, file));
  try {
    return build_roster(reader, toml::parse(text, file));
  } catch (const toml::parse_error& error) {
    return reader.wrong(error.source(), std::string(error.description()) +
                                            "; the file is not TOML, correct that line");
  }
}

std::string write_roster(const Roster& roster) {
  std::string text =
      "# Who takes part, by rank. The same file on every player.\n"
      "pool_id = \"" +
      to_hex(roster.pool_id) +
      "\"\n"
      "epoch = " +
      std::to_string(roster.epoch) +
      "\n"
      "dealer_key = \"" +
      to_hex(roster.dealer_key) +
      "\"\n"
      "trusted_fabric = " +
      (roster.trusted_fabric ? "true" : "false") + "\n";
  for (const RosterPlayer& player : roster.players) {
    text +=
        "\n[[player]]\n"
        "name = \"" +
        player.name +
        "\"\n"
        "host = \"" +
        player.host +
        "\"\n"
        "port = " +
        std::to_string(player.port) +
        "\n"
        "certificate = \"" +
        to_hex(player.certificate) +
        "\"\n"
        "pool_key = \"" +
        to_hex(player.pool_key) + "\"\n";
  }
  if (roster.factory.has_value()) {
    text += "\n[factory]\nhost = \"" + roster.factory->host +
            "\"\nport = " + std::to_string(roster.factory->port) + "\ncertificate = \"" +
            to_hex(roster.factory->certificate) + "\"\n";
  }
  return text;
}

Hash256 roster_hash(const Roster& roster) {
  static constexpr std::string_view kDomain = "beaverpond roster 2";
  std::vector<std::uint8_t> bytes(kDomain.begin(), kDomain.end());
  bytes.insert(bytes.end(), roster.pool_id.begin(), roster.pool_id.end());
  append_number(bytes, roster.epoch);
  bytes.insert(bytes.end(), roster.dealer_key.begin(), roster.dealer_key.end());
  append_number(bytes, roster.players.size());
  for (const RosterPlayer& player : roster.players) {
    append_number(bytes, player.name.size());
    bytes.insert(bytes.end(), player.name.begin(), player.name.end());
    bytes.insert(bytes.end(), player.certificate.begin(), player.certificate.end());
    bytes.insert(bytes.end(), player.pool_key.begin(), player.pool_key.end());
  }
  return sha256(bytes);
}

Result<Roster> read_roster_file(const std::string& path) {
  BP_ASSIGN(const std::string text, read_small_file(path));
  return parse_roster(text, path);
}

Result<void> write_roster_file(const std::string& path, const Roster& roster) {
  return replace_file(path, write_roster(roster), 0644);
}

}  // namespace beaverpond
