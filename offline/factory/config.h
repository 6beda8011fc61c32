// The configuration file of `triple-factory serve`: README.md lists its fields.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "beaverpond/result.h"
#include "offline/factory/scheduler.h"

namespace beaverpond {

struct ClassConfig {
  std::string name;  ///< for messages and metrics; no two classes share it
  std::string plan_path;
  std::uint32_t lane = 0;
  std::uint64_t segment_bundles = 0;  ///< 0: about 64 MiB per player and file
  Demand demand;
};

/// A host and a port to listen on.
struct ListenAddress {
  std::string host;
  std::uint16_t port = 0;
  bool given() const { return !host.empty(); }
  friend bool operator==(const ListenAddress&, const ListenAddress&) = default;
};

/// Players of other hosts pull their segments.
struct DeliveryConfig {
  ListenAddress listen;
  std::string home;   ///< folder of the factory's key.pem and cert.pem
  std::string spool;  ///< folder of one folder a player
  friend bool operator==(const DeliveryConfig&, const DeliveryConfig&) = default;
};

struct FactoryConfig {
  std::string roster_path;
  std::string dealer_key_path;  ///< empty: dealer.pem beside the roster, or in ../dealer
  std::vector<std::string> pool_directories;  ///< by player; empty with a delivery
  std::optional<DeliveryConfig> delivery;
  std::string device = "auto";     ///< that deals, as make_backend() takes it
  int threads = 0;                 ///< that deal; 0: one per core, or two for a GPU
  std::uint64_t disk_budget = 0;   ///< bytes; 0: no limit
  std::uint64_t disk_reserve = 0;  ///< bytes
  ListenAddress status;            ///< metrics, health and page; on this host only
  std::vector<ClassConfig> classes;
};

/// Reads TOML; relative paths are taken from the folder of `file`. Errors: kConfig with file, line,
/// field and remedy, for bad syntax, unknown, missing or ill-typed fields, and values out of range.
Result<FactoryConfig> parse_factory_config(std::string_view text, const std::string& file);

/// As parse_factory_config(), and as read_small_file().
Result<FactoryConfig> read_factory_config(const std::string& path);

/// "10.0.0.9:9471" or "[fd00::9]:9471". Errors: kConfig.
Result<ListenAddress> parse_address(const std::string& text);

/// "127.0.0.1:9470" or "[::1]:9470"; only addresses that nothing outside this host reaches. Errors:
/// kConfig.
Result<ListenAddress> parse_loopback(const std::string& text);

}  // namespace beaverpond
