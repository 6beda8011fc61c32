// Any text as the factory's configuration or as a roster: an error with its file, or values within
// their bounds. A roster that is taken is written and read back the same.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "offline/factory/config.h"
#include "offline/plan/roster.h"

namespace {

using namespace beaverpond;

void require(bool condition) {
  if (!condition) std::abort();
}

void check_error(const Error& error) {
  require(error.code == ErrorCode::kConfig);
  require(error.message.find("x.toml") != std::string::npos);
}

void read_config(std::string_view text) {
  const auto config = parse_factory_config(text, "x.toml");
  if (!config.ok()) return check_error(config.error());
  require(!config->roster_path.empty());
  require(config->delivery.has_value() == config->pool_directories.empty());
  require(!config->classes.empty() && config->threads >= 0 && config->threads <= 1024);
  for (const ClassConfig& one : config->classes) {
    require(one.segment_bundles <= 65536 && !one.name.empty());
    require(one.demand.high_bundles >= one.demand.low_bundles);
    require(one.demand.high_seconds >= one.demand.low_seconds);
    require(one.demand.low_bundles > 0 || one.demand.low_seconds > 0);
  }
}

void read_roster(std::string_view text) {
  const auto roster = parse_roster(text, "x.toml");
  if (!roster.ok()) return check_error(roster.error());
  require(roster->players.size() >= 2 && roster->players.size() <= 64);
  const auto again = parse_roster(write_roster(*roster), "x.toml");
  require(again.ok() && roster_hash(*again) == roster_hash(*roster));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 0) {
    read_config(text);
  } else {
    read_roster(text);
  }
  return 0;
}
