// Text inside a line of JSON.
#pragma once

#include <string>

namespace beaverpond {

/// Quoted, with what JSON does not allow escaped.
std::string json_string(const std::string& text);

}  // namespace beaverpond
