// One JSON object per line: what programs read from us.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

using JsonValue = std::variant<std::nullptr_t, bool, std::uint64_t, double, std::string>;
using JsonFields = std::vector<std::pair<std::string, JsonValue>>;

/// An array of flat objects, under a name of its own in the object that holds it.
struct JsonTable {
  std::string name;
  std::vector<JsonFields> rows;
};

/// A JSON object in the order given, without a line break.
std::string json_line(const JsonFields& fields, const std::vector<JsonTable>& tables = {});

/// Reads a flat JSON object from a file; values of other types are left out. Errors: kIo, kConfig.
Result<JsonFields> read_json_file(const std::string& path);

/// Reads a file of flat JSON objects, one a line. Errors: kIo, kConfig with file and line.
Result<std::vector<JsonFields>> read_json_lines(const std::string& path);

/// Writes one JSON line to `path`; an empty path writes nothing. Errors: kIo, kNoSpace.
Result<void> write_report(const std::string& path, const JsonFields& fields,
                          const std::vector<JsonTable>& tables = {});

/// The number of a field, if it holds one.
std::optional<double> json_real(const JsonFields& fields, const std::string& name);
/// The number of a field, or 0.
double json_number(const JsonFields& fields, const std::string& name);
/// The text of a field, or nothing.
std::string json_text(const JsonFields& fields, const std::string& name);

/// {"error":"peer-lost","message":...,"player":...,"operation":...}.
std::string json_error(const Error& error);

}  // namespace beaverpond
