// What a TOML file is checked for before toml++ sees it.
#pragma once

#include <string>
#include <string_view>

#include "beaverpond/result.h"

namespace beaverpond {

/// Refuses bytes above 127 outside strings and comments, where TOML 1.0 has no place for them.
/// toml++ 3.3 looks such characters up in a table with holes, which is undefined behaviour. Errors:
/// kConfig with file and line.
Result<void> check_toml_text(std::string_view text, const std::string& file);

}  // namespace beaverpond
