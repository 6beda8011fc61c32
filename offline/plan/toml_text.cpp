#include "offline/plan/toml_text.h"

#include <algorithm>

namespace beaverpond {
namespace {

/// The first position behind the string that begins at `at`. A string of one line ends with it:
/// what comes after an unclosed one is never parsed.
std::size_t end_of_string(std::string_view text, std::size_t at) {
  const char quote = text[at];
  const std::string three(3, quote);
  const bool lines = text.substr(at, 3) == three;
  const bool escapes = quote == '"';
  for (at += lines ? 3 : 1; at < text.size(); ++at) {
    if (escapes && text[at] == '\\') {
      ++at;
    } else if (lines ? text.substr(at, 3) == three : text[at] == quote || text[at] == '\n') {
      at += lines ? 3 : 1;
      // Up to two quotes may stand before the three that close.
      while (lines && at < text.size() && text[at] == quote) ++at;
      return at;
    }
  }
  return text.size();
}

}  // namespace

Result<void> check_toml_text(std::string_view text, const std::string& file) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  std::size_t at = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  while (at < text.size()) {
    const char c = text[at];
    if (static_cast<unsigned char>(c) > 127) {
      const auto line =
          std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
      return make_error(ErrorCode::kConfig,
                        file + ":" + std::to_string(line + 1) +
                            ": a character that is not ASCII stands outside quotes and comments; "
                            "put it into quotes");
    }
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
    } else if (c == '"' || c == '\'') {
      at = end_of_string(text, at);
    } else {
      ++at;
    }
  }
  return {};
}

}  // namespace beaverpond
