#include "online/session/lease_messages.h"

#include <algorithm>
#include <string>

#include "offline/pool/block.h"
#include "offline/pool/pool_set.h"

namespace beaverpond {
namespace {

constexpr std::uint64_t kHelloMagic = 0x314f4c4c45485042;    // "BPHELLO1"
constexpr std::uint64_t kDurableMagic = 0x3152424152445042;  // "BPDRABR1"
constexpr std::size_t kHelloFixedSize = 176;
constexpr std::size_t kRangeSize = 32;
constexpr std::size_t kDurableSize = 72;
constexpr std::uint64_t kMaxNumber = std::uint64_t{1} << 62;

static_assert(sizeof(SetId) + 16 == kRangeSize);

Error malformed(const char* what) {
  return make_error(
      ErrorCode::kProtocolMismatch,
      std::string("a malformed ") + what + " arrived; run the same release on all players");
}

bool ranges_are_sorted(const std::vector<PublishedRange>& ranges) {
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const PublishedRange& range = ranges[i];
    if (range.count == 0 || range.first >= kMaxNumber || range.count >= kMaxNumber) return false;
    if (i > 0 && !(ranges[i - 1] < range)) return false;
  }
  return true;
}

Error mismatch(ErrorCode code, int player, const std::string& what) {
  Error error = make_error(code, "player " + std::to_string(player) + " " + what);
  error.player = player;
  return error;
}

Result<void> check_pair(const Hello& mine, const Hello& theirs, int player) {
  PoolIdentity expected = mine.pool;
  expected.player = player;
  const std::string difference = describe_difference(expected, theirs.pool);
  if (!difference.empty()) {
    return mismatch(ErrorCode::kRosterMismatch, player,
                    "has another pool: " + difference + "; give all players the same roster");
  }
  if (theirs.key.plan != mine.key.plan) {
    return mismatch(ErrorCode::kRosterMismatch, player,
                    "runs another plan: " + to_hex(std::span(theirs.key.plan).first(8)) +
                        ", here it is " + to_hex(std::span(mine.key.plan).first(8)) +
                        "; give all players the same model, batch and release");
  }
  if (theirs.key.lane != mine.key.lane || theirs.session != mine.session ||
      theirs.step != mine.step) {
    return mismatch(ErrorCode::kProtocolMismatch, player,
                    "is at another place: lane " + std::to_string(theirs.key.lane) + " step " +
                        std::to_string(theirs.step) + ", here lane " +
                        std::to_string(mine.key.lane) + " step " + std::to_string(mine.step) +
                        "; start all players from the same checkpoint");
  }
  return {};
}

}  // namespace

std::vector<std::uint8_t> encode_hello(const Hello& hello) {
  const std::size_t ranges = std::min(hello.published.size(), kMaxHelloRanges);
  const std::size_t players = hello.witnesses.size();
  std::vector<std::uint8_t> bytes(kHelloFixedSize + 8 * players + kRangeSize * ranges);
  store_le(bytes, 0, kHelloMagic, 8);
  store_le(bytes, 8, static_cast<std::uint64_t>(hello.pool.player), 4);
  store_le(bytes, 12, static_cast<std::uint64_t>(hello.pool.players), 4);
  store_bytes(bytes, 16, hello.pool.pool_id);
  store_le(bytes, 32, hello.pool.epoch, 8);
  store_bytes(bytes, 40, hello.pool.roster_hash);
  store_bytes(bytes, 72, hello.key.plan);
  store_le(bytes, 104, hello.key.lane, 4);
  store_le(bytes, 108, hello.gave_up ? 1 : 0, 1);
  store_le(bytes, 109, hello.failed, 1);
  store_le(bytes, 112, hello.session, 8);
  store_le(bytes, 120, hello.step, 8);
  store_le(bytes, 128, hello.wanted, 8);
  store_le(bytes, 136, hello.watermark, 8);
  store_le(bytes, 144, players, 4);
  store_le(bytes, 148, ranges, 4);
  std::size_t at = kHelloFixedSize;
  for (const std::uint64_t witness : hello.witnesses) {
    store_le(bytes, at, witness, 8);
    at += 8;
  }
  for (std::size_t i = 0; i < ranges; ++i) {
    store_le(bytes, at, hello.published[i].first, 8);
    store_le(bytes, at + 8, hello.published[i].count, 8);
    store_bytes(bytes, at + 16, hello.published[i].set_id);
    at += kRangeSize;
  }
  return bytes;
}

Result<Hello> decode_hello(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kHelloFixedSize || load_le(bytes, 0, 8) != kHelloMagic) {
    return malformed("HELLO");
  }
  Hello hello;
  hello.pool.player = static_cast<int>(load_le(bytes, 8, 4));
  hello.pool.players = static_cast<int>(load_le(bytes, 12, 4));
  load_bytes(bytes, 16, hello.pool.pool_id);
  hello.pool.epoch = load_le(bytes, 32, 8);
  load_bytes(bytes, 40, hello.pool.roster_hash);
  load_bytes(bytes, 72, hello.key.plan);
  hello.key.lane = static_cast<std::uint32_t>(load_le(bytes, 104, 4));
  hello.gave_up = load_le(bytes, 108, 1) != 0;
  hello.failed = static_cast<std::uint8_t>(load_le(bytes, 109, 1));
  hello.session = load_le(bytes, 112, 8);
  hello.step = load_le(bytes, 120, 8);
  hello.wanted = load_le(bytes, 128, 8);
  hello.watermark = load_le(bytes, 136, 8);
  const std::size_t players = load_le(bytes, 144, 4);
  const std::size_t ranges = load_le(bytes, 148, 4);
  if (players > static_cast<std::size_t>(kMaxPlayers) || ranges > kMaxHelloRanges ||
      bytes.size() != kHelloFixedSize + 8 * players + kRangeSize * ranges) {
    return malformed("HELLO");
  }
  std::size_t at = kHelloFixedSize;
  for (std::size_t i = 0; i < players; ++i, at += 8) {
    hello.witnesses.push_back(load_le(bytes, at, 8));
  }
  for (std::size_t i = 0; i < ranges; ++i, at += kRangeSize) {
    PublishedRange range;
    range.first = load_le(bytes, at, 8);
    range.count = load_le(bytes, at + 8, 8);
    load_bytes(bytes, at + 16, range.set_id);
    hello.published.push_back(range);
  }
  const bool bounded = std::all_of(hello.witnesses.begin(), hello.witnesses.end(),
                                   [](std::uint64_t w) { return w < kMaxNumber; });
  if (!bounded || hello.watermark >= kMaxNumber || !ranges_are_sorted(hello.published)) {
    return malformed("HELLO");
  }
  return hello;
}

std::vector<std::uint8_t> encode_durable(const Durable& durable) {
  std::vector<std::uint8_t> bytes(kDurableSize);
  store_le(bytes, 0, kDurableMagic, 8);
  store_le(bytes, 8, durable.lane, 4);
  store_le(bytes, 12, durable.failed, 1);
  store_le(bytes, 16, durable.session, 8);
  store_le(bytes, 24, durable.first, 8);
  store_le(bytes, 32, durable.end, 8);
  store_bytes(bytes, 40, durable.hellos);
  return bytes;
}

Result<Durable> decode_durable(std::span<const std::uint8_t> bytes) {
  if (bytes.size() != kDurableSize || load_le(bytes, 0, 8) != kDurableMagic) {
    return malformed("DURABLE");
  }
  Durable durable;
  durable.lane = static_cast<std::uint32_t>(load_le(bytes, 8, 4));
  durable.failed = static_cast<std::uint8_t>(load_le(bytes, 12, 1));
  durable.session = load_le(bytes, 16, 8);
  durable.first = load_le(bytes, 24, 8);
  durable.end = load_le(bytes, 32, 8);
  load_bytes(bytes, 40, durable.hellos);
  return durable;
}

Result<void> check_hellos(const std::vector<Hello>& hellos, int me) {
  const Hello& mine = hellos[static_cast<std::size_t>(me)];
  for (std::size_t i = 0; i < hellos.size(); ++i) {
    const int player = static_cast<int>(i);
    BP_TRY(check_pair(mine, hellos[i], player));
    if (hellos[i].witnesses.size() != hellos.size()) return malformed("HELLO");
  }
  for (std::size_t i = 0; i < hellos.size(); ++i) {
    if (hellos[i].failed == 0) continue;
    const auto code = static_cast<ErrorCode>(hellos[i].failed);
    return mismatch(ErrorCode::kPeerLost, static_cast<int>(i),
                    std::string("cannot use its pool (") + to_string(code) +
                        "); see that player's own message");
  }
  return {};
}

LeaseDecision decide_lease(const std::vector<Hello>& hellos) {
  LeaseDecision decision;
  std::uint64_t wanted = ~std::uint64_t{0};
  std::vector<std::vector<PublishedRange>> published;
  for (const Hello& hello : hellos) {
    decision.floor = std::max(decision.floor, hello.watermark);
    for (const std::uint64_t seen : hello.witnesses) {
      decision.floor = std::max(decision.floor, seen);
    }
    wanted = std::min(wanted, hello.wanted);
    published.push_back(hello.published);
  }
  decision.first = decision.end = decision.floor;
  for (const PublishedRange& range : common_ranges(published)) {
    if (decision.empty()) {
      if (range.end() <= decision.floor || wanted == 0) continue;
      decision.first = std::max(range.first, decision.floor);
      decision.end = decision.first;
    } else if (range.first != decision.segments.back().end()) {
      continue;  // a hole ends the lease; an overlap is not ours to join
    }
    decision.segments.push_back(range);
    decision.end = std::min(range.end(), decision.first + wanted);
    if (decision.end == decision.first + wanted) break;
  }
  return decision;
}

}  // namespace beaverpond
