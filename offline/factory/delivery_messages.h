// What a player and the factory tell each other when the player pulls: lines of text, tabulated in
// README.md. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "beaverpond/result.h"
#include "offline/pool/layout.h"

namespace beaverpond {

/// A range of one lane.
struct LaneRange {
  LaneKey key;
  PublishedRange range;
  friend auto operator<=>(const LaneRange&, const LaneRange&) = default;
};

struct LaneWatermark {
  LaneKey key;
  std::uint64_t watermark = 0;  ///< first bundle that this player never leased
  friend bool operator==(const LaneWatermark&, const LaneWatermark&) = default;
};

/// From a player: what it has spent, and what it holds durably but has not published yet.
struct SyncRequest {
  std::vector<LaneWatermark> lanes;
  std::vector<LaneRange> staged;
  friend bool operator==(const SyncRequest&, const SyncRequest&) = default;
};

struct SegmentOffer {
  LaneRange what;
  std::uint64_t size_bytes = 0;
  friend bool operator==(const SegmentOffer&, const SegmentOffer&) = default;
};

struct SyncAnswer {
  std::vector<LaneKey> lanes;        ///< that the factory fills
  std::vector<SegmentOffer> offers;  ///< to download
  std::vector<LaneRange> publish;    ///< staged by all players
  std::vector<LaneRange> drop;       ///< staged, but never to be published
  friend bool operator==(const SyncAnswer&, const SyncAnswer&) = default;
};

/// Larger numbers are refused, so that what is numbered above them stays within the format.
inline constexpr std::uint64_t kMaxReportedWatermark = std::uint64_t{1} << 60;

std::string encode_sync_request(const SyncRequest& request);
std::string encode_sync_answer(const SyncAnswer& answer);
/// Accept exactly what is encoded. Errors: kProtocolMismatch.
Result<SyncRequest> decode_sync_request(std::string_view text);
Result<SyncAnswer> decode_sync_answer(std::string_view text);

/// "<64 hexadecimal digits of the plan>/<lane>/<name of the segment>", and back.
std::string lane_range_path(const LaneRange& what);
std::optional<LaneRange> parse_lane_range(const std::string& path);

}  // namespace beaverpond
