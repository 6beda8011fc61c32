// The status page: one HTML document without anything from elsewhere.
#pragma once

#include <string>

namespace beaverpond {

/// Shows `status` (the document of status_json()) at once, then fetches it anew every second.
std::string status_page(const std::string& status);

}  // namespace beaverpond
