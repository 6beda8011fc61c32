#include "offline/factory/delivery_messages.h"

#include <algorithm>
#include <charconv>
#include <functional>

namespace beaverpond {
namespace {

constexpr std::string_view kFirstLine = "beaverpond-sync 2";
constexpr std::size_t kMostLines = 100000;

template <class Number>
bool parse_decimal(std::string_view text, Number& value) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failure == std::errc() && end == text.data() + text.size() &&
         text == std::to_string(value);
}

bool parse_hash(std::string_view text, Hash256& hash) {
  if (text.size() != 2 * hash.size()) return false;
  if (text.find_first_not_of("0123456789abcdef") != std::string_view::npos) return false;
  for (std::size_t i = 0; i < hash.size(); ++i) {
    std::from_chars(text.data() + 2 * i, text.data() + 2 * i + 2, hash[i], 16);
  }
  return true;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool parse_key(std::string_view plan, std::string_view lane, LaneKey& key) {
  return parse_hash(plan, key.plan) && parse_decimal(lane, key.lane);
}

std::string key_text(const LaneKey& key, char separator) {
  return to_hex(key.plan) + separator + std::to_string(key.lane);
}

Error mismatch(std::size_t line) {
  return make_error(ErrorCode::kProtocolMismatch,
                    "line " + std::to_string(line) +
                        " of a delivery message is not understood; run the same version of "
                        "triple-factory on both sides");
}

/// Calls `take` with the words of every line after the first; it says whether they mean something.
Result<void> read_lines(std::string_view text,
                        const std::function<bool(const std::vector<std::string_view>&)>& take) {
  if (text.empty() || text.back() != '\n') return mismatch(0);
  text.remove_suffix(1);
  const std::vector<std::string_view> lines = split(text, '\n');
  if (lines.front() != kFirstLine || lines.size() > kMostLines) return mismatch(1);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    if (!take(split(lines[i], ' '))) return mismatch(i + 1);
  }
  return {};
}

bool take_range(std::string_view path, std::vector<LaneRange>& to) {
  const auto what = parse_lane_range(std::string(path));
  if (what.has_value()) to.push_back(*what);
  return what.has_value();
}

}  // namespace

std::string lane_range_path(const LaneRange& what) {
  return key_text(what.key, '/') + "/" + segment_name(what.range, kSegmentSuffix);
}

std::optional<LaneRange> parse_lane_range(const std::string& path) {
  const auto parts = split(path, '/');
  LaneRange what;
  if (parts.size() != 3 || !parse_key(parts[0], parts[1], what.key)) return std::nullopt;
  const auto range = parse_segment_name(std::string(parts[2]), kSegmentSuffix);
  if (!range.has_value()) return std::nullopt;
  what.range = *range;
  return what;
}

std::string encode_sync_request(const SyncRequest& request) {
  std::string text = std::string(kFirstLine) + "\n";
  for (const LaneWatermark& lane : request.lanes) {
    text += "lane " + key_text(lane.key, ' ') + " " + std::to_string(lane.watermark) + "\n";
  }
  for (const LaneRange& what : request.staged) text += "staged " + lane_range_path(what) + "\n";
  return text;
}

std::string encode_sync_answer(const SyncAnswer& answer) {
  std::string text = std::string(kFirstLine) + "\n";
  for (const LaneKey& key : answer.lanes) text += "lane " + key_text(key, ' ') + "\n";
  for (const SegmentOffer& offer : answer.offers) {
    text += "offer " + lane_range_path(offer.what) + " " + std::to_string(offer.size_bytes) + "\n";
  }
  for (const LaneRange& what : answer.publish) text += "publish " + lane_range_path(what) + "\n";
  for (const LaneRange& what : answer.drop) text += "drop " + lane_range_path(what) + "\n";
  return text;
}

Result<SyncRequest> decode_sync_request(std::string_view text) {
  SyncRequest request;
  BP_TRY(read_lines(text, [&](const std::vector<std::string_view>& words) {
    if (words.size() == 2 && words[0] == "staged") return take_range(words[1], request.staged);
    LaneWatermark lane;
    if (words.size() != 4 || words[0] != "lane" || !request.staged.empty() ||
        !parse_key(words[1], words[2], lane.key) || !parse_decimal(words[3], lane.watermark) ||
        lane.watermark > kMaxReportedWatermark) {
      return false;
    }
    request.lanes.push_back(lane);
    return true;
  }));
  return request;
}

Result<SyncAnswer> decode_sync_answer(std::string_view text) {
  SyncAnswer answer;
  BP_TRY(read_lines(text, [&](const std::vector<std::string_view>& words) {
    const std::string_view kind = words[0];
    if (words.size() == 2 && kind == "publish") return take_range(words[1], answer.publish);
    if (words.size() == 2 && kind == "drop") return take_range(words[1], answer.drop);
    if (words.size() == 3 && kind == "lane") {
      LaneKey key;
      if (!parse_key(words[1], words[2], key)) return false;
      answer.lanes.push_back(key);
      return true;
    }
    SegmentOffer offer;
    if (words.size() != 3 || kind != "offer" || !parse_decimal(words[2], offer.size_bytes)) {
      return false;
    }
    const auto what = parse_lane_range(std::string(words[1]));
    if (!what.has_value()) return false;
    offer.what = *what;
    answer.offers.push_back(offer);
    return true;
  }));
  // In the order of encode_sync_answer(), so that there is one text for every answer.
  if (encode_sync_answer(answer) != text) return mismatch(0);
  return answer;
}

}  // namespace beaverpond
