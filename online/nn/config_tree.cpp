#include "online/nn/config_tree.h"

#include <toml++/toml.h>

#include "offline/plan/toml_text.h"

namespace beaverpond {
namespace {

ConfigNode convert(const toml::node& node) {
  ConfigNode out;
  out.line = node.source().begin.line;
  if (const toml::table* table = node.as_table()) {
    out.kind = ConfigNode::Kind::kTable;
    for (const auto& [key, value] : *table) {
      out.table.emplace(std::string(key.str()), convert(value));
    }
  } else if (const toml::array* array = node.as_array()) {
    out.kind = ConfigNode::Kind::kArray;
    for (const toml::node& item : *array) out.array.push_back(convert(item));
  } else if (const auto* integer = node.as_integer()) {
    out.kind = ConfigNode::Kind::kInteger;
    out.integer = integer->get();
  } else if (const auto* real = node.as_floating_point()) {
    out.kind = ConfigNode::Kind::kFloat;
    out.real = real->get();
  } else if (const auto* text = node.as_string()) {
    out.kind = ConfigNode::Kind::kString;
    out.text = text->get();
  } else if (const auto* boolean = node.as_boolean()) {
    out.kind = ConfigNode::Kind::kBool;
    out.boolean = boolean->get();
  }
  return out;
}

}  // namespace

const char* to_string(ConfigNode::Kind kind) {
  switch (kind) {
    case ConfigNode::Kind::kInteger: return "an integer";
    case ConfigNode::Kind::kFloat: return "a number";
    case ConfigNode::Kind::kString: return "a string";
    case ConfigNode::Kind::kBool: return "true or false";
    case ConfigNode::Kind::kArray: return "a list";
    case ConfigNode::Kind::kTable: return "a table";
    case ConfigNode::Kind::kOther: break;
  }
  return "a date or time";
}

Result<ConfigNode> parse_toml(const std::string& text, const std::string& file) {
  BP_TRY(check_toml_text(text, file));
  try {
    return convert(toml::parse(text));
  } catch (const toml::parse_error& error) {
    return make_error(ErrorCode::kConfig,
                      file + ":" + std::to_string(error.source().begin.line) +
                          ": not valid TOML: " + std::string(error.description()));
  }
}

}  // namespace beaverpond
