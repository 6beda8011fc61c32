// A TOML document as a plain tree with line numbers, so that toml++ is compiled in one file only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

struct ConfigNode {
  enum class Kind { kInteger, kFloat, kString, kBool, kArray, kTable, kOther };

  Kind kind = Kind::kOther;
  std::uint32_t line = 0;
  std::int64_t integer = 0;
  double real = 0;
  bool boolean = false;
  std::string text;
  std::vector<ConfigNode> array;
  std::map<std::string, ConfigNode> table;
};

const char* to_string(ConfigNode::Kind kind);

/// Errors: kConfig, with file and line, when the text is not TOML.
Result<ConfigNode> parse_toml(const std::string& text, const std::string& file);

}  // namespace beaverpond
