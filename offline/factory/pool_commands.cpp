#include "offline/factory/pool_commands.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "offline/factory/json_text.h"
#include "offline/plan/certificate.h"
#include "offline/plan/roster.h"
#include "offline/pool/dealer_key.h"
#include "offline/pool/export.h"
#include "offline/pool/import.h"
#include "offline/pool/posix_storage.h"
#include "offline/pool/random.h"
#include "offline/pool/roster_identity.h"
#include "offline/pool/verify.h"

namespace beaverpond {
namespace {

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

std::string field(const char* name, const std::string& value) {
  return std::string(",\"") + name + "\":" + value;
}

/// The fields of a header, as JSON members or as lines.
std::string describe_header(const SegmentHeader& header, bool json) {
  const std::vector<std::pair<const char*, std::string>> texts = {
      {"pool", to_hex(header.pool.pool_id)}, {"roster", to_hex(header.pool.roster_hash)},
      {"plan", to_hex(header.key.plan)},     {"set", to_hex(header.range.set_id)},
      {"generator", to_string(header.prg)},  {"root", to_hex(header.root)}};
  const std::vector<std::pair<const char*, std::uint64_t>> numbers = {
      {"epoch", header.pool.epoch},
      {"player", static_cast<std::uint64_t>(header.pool.player)},
      {"players", static_cast<std::uint64_t>(header.pool.players)},
      {"lane", header.key.lane},
      {"first", header.range.first},
      {"count", header.range.count},
      {"correction_bytes", header.correction_size.value},
      {"chunks", header.chunks()},
      {"bytes", header.file_size()}};
  std::string out;
  for (const auto& [name, text] : texts) {
    out += json ? field(name, json_string(text)) : std::string("  ") + name + " " + text + "\n";
  }
  for (const auto& [name, value] : numbers) {
    out +=
        json ? field(name, number(value)) : std::string("  ") + name + " " + number(value) + "\n";
  }
  return out;
}

void print_finding(const PoolFinding& finding, bool json) {
  const char* const state = finding.error ? "damaged" : finding.spent ? "spent" : "sound";
  if (json) {
    std::string line = R"({"verify":")" + std::string(state) + "\"" +
                       field("path", json_string(finding.path)) +
                       field("chunks", number(finding.chunks)) +
                       field("imported", finding.imported ? "true" : "false");
    if (finding.error) line += field("error", json_string(finding.error->message));
    std::printf("%s}\n", line.c_str());
    return;
  }
  std::printf("%-8s%s\n", state, finding.path.c_str());
  if (finding.error) std::printf("        %s\n", finding.error->message.c_str());
}

/// The pool in `directory`, as the roster sees its player.
Result<PoolOptions> options_for(const std::string& directory, const Roster& roster,
                                Storage& storage) {
  BP_ASSIGN(const PoolIdentity found, read_identity(storage, directory));
  PoolOptions options;
  options.directory = directory;
  options.storage = &storage;
  options.identity = pool_identity(roster, found.player);
  options.dealer_key = roster.dealer_key;
  if (found.player >= 0 && found.player < options.identity.players) {
    options.pool_key = roster.players[static_cast<std::size_t>(found.player)].pool_key;
  }
  return options;
}

}  // namespace

Result<void> run_dealer_keygen(const PoolCommandArguments& arguments) {
  std::error_code error;
  const bool made = std::filesystem::create_directories(arguments.home, error);
  if (!error && made) {
    std::filesystem::permissions(arguments.home, std::filesystem::perms::owner_all, error);
  }
  if (error) {
    return make_error(ErrorCode::kIo, "cannot make the folder " + arguments.home + ": " +
                                          error.message() + "; check its parent");
  }
  const std::string dealer = arguments.home + "/dealer.pem";
  const std::string key = arguments.home + "/key.pem";
  const bool has_key = std::filesystem::exists(key);
  // The dealer of players on one host (beaverpond keygen --all) may get a certificate later.
  if (has_key || !std::filesystem::exists(dealer)) {
    BP_ASSIGN(const DealerKey made, DealerKey::generate());
    BP_TRY(made.write_new(dealer));
  }
  BP_ASSIGN(const DealerKey signing, DealerKey::read(dealer));
  const std::string certificate = arguments.home + "/cert.pem";
  BP_ASSIGN(const Hash256 pinned, has_key ? certificate_fingerprint(certificate)
                                          : make_certificate(key, certificate, "triple-factory"));
  std::array<std::uint8_t, 16> pool_id{};
  BP_TRY(fill_random_blocking(pool_id));
  if (arguments.host.empty()) {
    std::printf(
        "%s\n\nA new roster begins with these lines; the players' entries follow. The section "
        "[factory] is for\nplayers that pull from HOST.\n\n",
        dealer.c_str());
  }
  std::printf(
      "pool_id = \"%s\"\nepoch = 1\ndealer_key = \"%s\"\n\n"
      "[factory]\nhost = \"%s\"\nport = 9471\ncertificate = \"%s\"\n",
      to_hex(pool_id).c_str(), to_hex(signing.public_key()).c_str(),
      arguments.host.empty() ? "HOST" : arguments.host.c_str(), to_hex(pinned).c_str());
  return {};
}

Result<void> run_inspect(const PoolCommandArguments& arguments) {
  PosixStorage storage;
  for (const std::string& path : arguments.files) {
    BP_ASSIGN(const auto file, storage.open(path, Storage::Mode::kRead));
    BP_ASSIGN(const SegmentHeader header, read_segment_header(*file, path));
    BP_ASSIGN(const auto imported, ratchet_number_of(storage, path));
    const std::string text = describe_header(header, arguments.json);
    if (arguments.json) {
      std::printf("{\"inspect\":%s%s,\"imported\":%s}\n", json_string(path).c_str(), text.c_str(),
                  imported ? "true" : "false");
    } else {
      std::printf("%s\n%s  %s\n", path.c_str(), text.c_str(),
                  imported ? "its key is under the pool's own" : "sealed for transport");
    }
  }
  return {};
}

Result<void> run_verify(const PoolCommandArguments& arguments) {
  BP_ASSIGN(const Roster roster, read_roster_file(arguments.roster_path));
  PosixStorage storage;
  std::uint64_t damaged = 0;
  for (const std::string& directory : arguments.pool_directories) {
    BP_ASSIGN(const PoolOptions options, options_for(directory, roster, storage));
    BP_ASSIGN(const PoolReport report,
              verify_pool_blocking(options, [&](const PoolFinding& finding) {
                print_finding(finding, arguments.json);
              }));
    damaged += report.damaged.size();
    if (arguments.json) {
      std::printf("{\"verify\":\"pool\"%s%s%s%s}\n", field("path", json_string(directory)).c_str(),
                  field("segments", number(report.segments)).c_str(),
                  field("bundles", number(report.bundles)).c_str(),
                  field("damaged", number(report.damaged.size())).c_str());
    } else {
      std::printf("%s: %s segments, %s unspent bundles, %s files damaged\n", directory.c_str(),
                  number(report.segments).c_str(), number(report.bundles).c_str(),
                  number(report.damaged.size()).c_str());
    }
  }
  if (damaged == 0) return {};
  return make_error(ErrorCode::kPoolCorrupt,
                    number(damaged) +
                        " files are damaged; stop the engine and run "
                        "`triple-factory repair`, which burns their bundles");
}

Result<void> run_repair(const PoolCommandArguments& arguments) {
  BP_ASSIGN(const Roster roster, read_roster_file(arguments.roster_path));
  PosixStorage storage;
  std::uint64_t left = 0;
  for (const std::string& directory : arguments.pool_directories) {
    BP_ASSIGN(const PoolOptions options, options_for(directory, roster, storage));
    BP_ASSIGN(const RepairReport report, repair_pool_blocking(options));
    left += report.unrepaired.size();
    for (const std::string& path : report.burned) {
      if (arguments.json) {
        std::printf("{\"repair\":\"burned\"%s}\n", field("path", json_string(path)).c_str());
      } else {
        std::printf("burned  %s\n", path.c_str());
      }
    }
    for (const PoolFinding& finding : report.before.damaged) {
      const bool kept = std::find(report.unrepaired.begin(), report.unrepaired.end(),
                                  finding.path) != report.unrepaired.end();
      if (kept) print_finding(finding, arguments.json);
    }
    if (!arguments.json) {
      std::printf("%s: %s files burned, %s left as they are\n", directory.c_str(),
                  number(report.burned.size()).c_str(), number(report.unrepaired.size()).c_str());
    }
  }
  if (left == 0) return {};
  return make_error(ErrorCode::kPoolCorrupt,
                    number(left) + " files need a decision that no tool may take; see above");
}

Result<void> run_export(const PoolCommandArguments& arguments) {
  PosixStorage storage;
  std::uint64_t segments = 0;
  std::uint64_t bundles = 0;
  BP_TRY(export_segments_blocking(
      storage, arguments.spool, arguments.medium, [&](const ExportedSegment& exported) {
        ++segments;
        bundles += exported.range.count;
        if (!arguments.json) return (void)std::printf("exported %s\n", exported.path.c_str());
        std::printf("{\"export\":\"segment\"%s%s%s%s%s}\n",
                    field("path", json_string(exported.path)).c_str(),
                    field("lane", number(exported.key.lane)).c_str(),
                    field("first", number(exported.range.first)).c_str(),
                    field("count", number(exported.range.count)).c_str(),
                    field("bytes", number(exported.bytes)).c_str());
      }));
  if (arguments.json) {
    std::printf("{\"export\":\"done\"%s%s}\n", field("segments", number(segments)).c_str(),
                field("bundles", number(bundles)).c_str());
  } else {
    std::printf("%s segments, %s bundles\n", number(segments).c_str(), number(bundles).c_str());
  }
  return {};
}

}  // namespace beaverpond
