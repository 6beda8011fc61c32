#include "offline/pool/layout.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace beaverpond {
namespace {

std::string parent_of(const std::string& path) {
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  const std::size_t slash = trimmed.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : trimmed.substr(0, slash);
}

bool parse_number(const std::string& text, std::uint64_t& value) {
  const char* const end = text.data() + text.size();
  const auto [at, failure] = std::from_chars(text.data(), end, value);
  return failure == std::errc() && at == end && value < kMaxBundleNumber;
}

bool parse_set_id(const std::string& text, SetId& id) {
  if (text.size() != id.size() * 2) return false;
  for (std::size_t i = 0; i < id.size(); ++i) {
    const char* const at = text.data() + 2 * i;
    const auto [end, failure] = std::from_chars(at, at + 2, id[i], 16);
    if (failure != std::errc() || end != at + 2) return false;
  }
  return true;
}

std::optional<std::uint32_t> lane_number(const std::string& name) {
  constexpr std::string_view kPrefix = "lane-";
  std::uint32_t lane = 0;
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const char* const end = name.data() + name.size();
  const auto [at, failure] = std::from_chars(name.data() + kPrefix.size(), end, lane);
  if (failure != std::errc() || at != end || std::string(kPrefix) + std::to_string(lane) != name) {
    return std::nullopt;
  }
  return lane;
}

}  // namespace

std::string LaneKey::str() const {
  return "plan " + to_hex(std::span(plan).first(8)) + " lane " + std::to_string(lane);
}

std::string PublishedRange::str() const {
  return std::string("[") + std::to_string(first) + ", " + std::to_string(end()) + ")";
}

std::string lane_directory(const std::string& pool_directory, const LaneKey& key) {
  return pool_directory + "/" + to_hex(std::span(key.plan).first(8)) + "/lane-" +
         std::to_string(key.lane);
}

std::string segment_name(const PublishedRange& range, const char* suffix) {
  return std::to_string(range.first) + "-" + std::to_string(range.count) + "-" +
         to_hex(range.set_id) + suffix;
}

std::optional<PublishedRange> parse_segment_name(const std::string& name, const char* suffix) {
  const std::size_t one = name.find('-');
  const std::size_t two = one == std::string::npos ? one : name.find('-', one + 1);
  const std::size_t dot = two == std::string::npos ? two : name.find('.', two + 1);
  if (dot == std::string::npos) return std::nullopt;
  PublishedRange range;
  if (!parse_number(name.substr(0, one), range.first)) return std::nullopt;
  if (!parse_number(name.substr(one + 1, two - one - 1), range.count)) return std::nullopt;
  if (!parse_set_id(name.substr(two + 1, dot - two - 1), range.set_id)) return std::nullopt;
  if (range.count == 0 || segment_name(range, suffix) != name) return std::nullopt;
  return range;
}

Result<std::string> ensure_lane_directory(Storage& storage, const std::string& pool_directory,
                                          const LaneKey& key) {
  const std::string lane = lane_directory(pool_directory, key);
  const std::string plan = parent_of(lane);
  BP_TRY(storage.make_directory(plan));
  BP_TRY(storage.make_directory(lane));
  BP_TRY(storage.sync_directory(lane));
  BP_TRY(storage.sync_directory(plan));
  BP_TRY(storage.sync_directory(pool_directory));
  return lane;
}

Result<void> ensure_pool_directory(Storage& storage, const std::string& directory) {
  BP_ASSIGN(const bool present, storage.exists(directory));
  if (!present) BP_TRY(storage.make_directory(directory));
  // Also where it exists: whoever made it may have died before its own sync, or be about to do it,
  // and a ledger is no more durable than the folder that holds it.
  BP_TRY(storage.sync_directory(parent_of(directory)));
  BP_ASSIGN(const std::uint32_t mode, storage.directory_mode(directory));
  if ((mode & 077) != 0) {
    return make_error(ErrorCode::kConfig, "others may enter the pool folder " + directory +
                                              ", which holds secrets; run chmod 0700 on it");
  }
  return {};
}

Result<std::vector<PublishedRange>> list_ranges(Storage& storage, const std::string& directory,
                                                const char* suffix) {
  std::vector<PublishedRange> ranges;
  BP_ASSIGN(const bool present, storage.exists(directory));
  if (!present) return ranges;
  BP_ASSIGN(const auto entries, storage.list(directory));
  for (const StorageEntry& entry : entries) {
    if (entry.is_directory) continue;
    if (const auto range = parse_segment_name(entry.name, suffix)) ranges.push_back(*range);
  }
  std::sort(ranges.begin(), ranges.end());
  return ranges;
}

Result<std::vector<LaneFolder>> list_lanes(Storage& storage, const std::string& pool_directory) {
  std::vector<LaneFolder> lanes;
  BP_ASSIGN(const auto plans, storage.list(pool_directory));
  for (const StorageEntry& plan : plans) {
    if (!plan.is_directory) continue;
    const std::string plan_path = pool_directory + "/" + plan.name;
    BP_ASSIGN(const auto folders, storage.list(plan_path));
    for (const StorageEntry& folder : folders) {
      const auto lane = folder.is_directory ? lane_number(folder.name) : std::nullopt;
      if (lane) lanes.push_back({plan.name, *lane, plan_path + "/" + folder.name});
    }
  }
  std::sort(lanes.begin(), lanes.end(),
            [](const LaneFolder& a, const LaneFolder& b) { return a.path < b.path; });
  return lanes;
}

Result<void> create_file_atomically(Storage& storage, const std::string& path,
                                    const std::string& temporary,
                                    std::span<const std::uint8_t> bytes) {
  BP_ASSIGN(const bool left_over, storage.exists(temporary));
  if (left_over) BP_TRY(storage.unlink(temporary));
  {
    BP_ASSIGN(const auto file, storage.open(temporary, Storage::Mode::kCreateNew));
    BP_TRY(file->write_at(0, bytes));
    BP_TRY(file->sync());
  }
  BP_ASSIGN(const bool created, storage.rename_new(temporary, path));
  if (!created) BP_TRY(storage.unlink(temporary));
  return storage.sync_directory(parent_of(path));
}

}  // namespace beaverpond
