#include "online/cli/json_line.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "offline/plan/file.h"

namespace beaverpond {

using Json = nlohmann::ordered_json;

namespace {

Json to_json(const JsonFields& fields) {
  Json object = Json::object();
  for (const auto& [name, value] : fields) {
    std::visit([&object, &key = name](const auto& v) { object[key] = v; }, value);
  }
  return object;
}

/// Values of other types are left out.
JsonFields to_fields(const Json& object) {
  JsonFields fields;
  for (const auto& [name, value] : object.items()) {
    if (value.is_string()) {
      fields.emplace_back(name, value.get<std::string>());
    } else if (value.is_boolean()) {
      fields.emplace_back(name, value.get<bool>());
    } else if (value.is_number_unsigned()) {
      fields.emplace_back(name, value.get<std::uint64_t>());
    } else if (value.is_number()) {
      fields.emplace_back(name, value.get<double>());
    }
  }
  return fields;
}

}  // namespace

std::string json_line(const JsonFields& fields, const std::vector<JsonTable>& tables) {
  Json object = to_json(fields);
  for (const JsonTable& table : tables) {
    Json rows = Json::array();
    for (const JsonFields& row : table.rows) rows.push_back(to_json(row));
    object[table.name] = std::move(rows);
  }
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<JsonFields> read_json_file(const std::string& path) {
  BP_ASSIGN(const std::string text, read_small_file(path));
  const Json object = Json::parse(text, nullptr, false);
  if (!object.is_object()) {
    return make_error(ErrorCode::kConfig, path + " does not hold a JSON object");
  }
  return to_fields(object);
}

Result<std::vector<JsonFields>> read_json_lines(const std::string& path) {
  BP_ASSIGN(const std::string text, read_small_file(path));
  std::vector<JsonFields> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    const Json object = Json::parse(line, nullptr, false);
    if (!object.is_object()) {
      return make_error(ErrorCode::kConfig, path + ':' + std::to_string(lines.size() + 1) +
                                                ": this line is no JSON object");
    }
    lines.push_back(to_fields(object));
  }
  return lines;
}

std::optional<double> json_real(const JsonFields& fields, const std::string& name) {
  for (const auto& [key, value] : fields) {
    if (key != name) continue;
    if (const auto* count = std::get_if<std::uint64_t>(&value)) return static_cast<double>(*count);
    if (const auto* number = std::get_if<double>(&value)) return *number;
  }
  return std::nullopt;
}

double json_number(const JsonFields& fields, const std::string& name) {
  return json_real(fields, name).value_or(0);
}

std::string json_text(const JsonFields& fields, const std::string& name) {
  for (const auto& [key, value] : fields) {
    const auto* text = std::get_if<std::string>(&value);
    if (key == name && text != nullptr) return *text;
  }
  return {};
}

Result<void> write_report(const std::string& path, const JsonFields& fields,
                          const std::vector<JsonTable>& tables) {
  if (path.empty()) return {};
  return replace_file(path, json_line(fields, tables) + "\n", 0600);
}

std::string json_error(const Error& error) {
  JsonFields fields = {{"error", std::string(to_string(error.code))}, {"message", error.message}};
  if (error.player.has_value()) {
    fields.emplace_back("player", static_cast<std::uint64_t>(*error.player));
  }
  if (!error.operation.empty()) fields.emplace_back("operation", error.operation);
  return json_line(fields);
}

}  // namespace beaverpond
