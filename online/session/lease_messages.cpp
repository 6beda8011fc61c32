#include "online/session/lease_messages.h"

#include <algorithm>
#include <string>

#include "offline/pool/block.h"

namespace beaverpond {
namespace {

constexpr std::uint64_t kHelloMagic = 0x324f4c4c45485042;    // "BPHELLO2"
constexpr std::uint64_t kDurableMagic = 0x3252424152445042;  // "BPDRABR2"
constexpr std::size_t kHelloFixedSize = 128;
constexpr std::size_t kClassFixedSize = 64;
constexpr std::size_t kRangeSize = 32;
constexpr std::size_t kDurableFixedSize = 64;
constexpr std::size_t kLeasedSize = 16;

static_assert(sizeof(SetId) + 16 == kRangeSize);

Error malformed(const char* what) {
  return make_error(
      ErrorCode::kProtocolMismatch,
      std::string("a malformed ") + what + " arrived; run the same release on all players");
}

bool ranges_are_sorted(const std::vector<PublishedRange>& ranges) {
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const PublishedRange& range = ranges[i];
    if (range.count == 0 || range.first >= kMaxBundleNumber || range.count >= kMaxBundleNumber)
      return false;
    if (i > 0 && !(ranges[i - 1] < range)) return false;
  }
  return true;
}

bool is_sound(const ClassState& state) {
  const bool bounded = std::all_of(state.witnesses.begin(), state.witnesses.end(),
                                   [](std::uint64_t w) { return w < kMaxBundleNumber; });
  return bounded && state.watermark < kMaxBundleNumber && state.per_step >= 1 &&
         state.per_step < kMaxBundleNumber && ranges_are_sorted(state.published);
}

bool classes_are_sorted(const std::vector<ClassState>& classes) {
  for (std::size_t i = 1; i < classes.size(); ++i) {
    if (!(classes[i - 1].key < classes[i].key)) return false;
  }
  return true;
}

void append_class(std::vector<std::uint8_t>& bytes, const ClassState& state) {
  const std::size_t players = state.witnesses.size();
  const std::size_t ranges = std::min(state.published.size(), kMaxHelloRanges);
  std::size_t at = bytes.size();
  bytes.resize(at + kClassFixedSize + 8 * players + kRangeSize * ranges);
  store_bytes(bytes, at, state.key.plan);
  store_le(bytes, at + 32, state.key.lane, 4);
  store_le(bytes, at + 36, players, 2);
  store_le(bytes, at + 40, state.per_step, 8);
  store_le(bytes, at + 48, state.watermark, 8);
  store_le(bytes, at + 56, ranges, 4);
  at += kClassFixedSize;
  for (const std::uint64_t witness : state.witnesses) {
    store_le(bytes, at, witness, 8);
    at += 8;
  }
  for (std::size_t i = 0; i < ranges; ++i, at += kRangeSize) {
    store_le(bytes, at, state.published[i].first, 8);
    store_le(bytes, at + 8, state.published[i].count, 8);
    store_bytes(bytes, at + 16, state.published[i].set_id);
  }
}

/// Reads the class at `at` and moves `at` behind it; false where the bytes are no class.
bool read_class(std::span<const std::uint8_t> bytes, std::size_t& at, ClassState& state) {
  if (bytes.size() - at < kClassFixedSize) return false;
  load_bytes(bytes, at, state.key.plan);
  state.key.lane = static_cast<std::uint32_t>(load_le(bytes, at + 32, 4));
  const std::size_t players = load_le(bytes, at + 36, 2);
  state.per_step = load_le(bytes, at + 40, 8);
  state.watermark = load_le(bytes, at + 48, 8);
  const std::size_t ranges = load_le(bytes, at + 56, 4);
  at += kClassFixedSize;
  if (players > static_cast<std::size_t>(kMaxPlayers) || ranges > kMaxHelloRanges ||
      bytes.size() - at < 8 * players + kRangeSize * ranges) {
    return false;
  }
  for (std::size_t i = 0; i < players; ++i, at += 8) {
    state.witnesses.push_back(load_le(bytes, at, 8));
  }
  for (std::size_t i = 0; i < ranges; ++i, at += kRangeSize) {
    PublishedRange range;
    range.first = load_le(bytes, at, 8);
    range.count = load_le(bytes, at + 8, 8);
    load_bytes(bytes, at + 16, range.set_id);
    state.published.push_back(range);
  }
  return is_sound(state);
}

}  // namespace

std::vector<std::uint8_t> encode_hello(const Hello& hello) {
  std::vector<std::uint8_t> bytes(kHelloFixedSize);
  store_le(bytes, 0, kHelloMagic, 8);
  store_le(bytes, 8, static_cast<std::uint64_t>(hello.pool.player), 4);
  store_le(bytes, 12, static_cast<std::uint64_t>(hello.pool.players), 4);
  store_bytes(bytes, 16, hello.pool.pool_id);
  store_le(bytes, 32, hello.pool.epoch, 8);
  store_bytes(bytes, 40, hello.pool.roster_hash);
  store_le(bytes, 72, hello.session, 8);
  store_le(bytes, 80, hello.step, 8);
  store_le(bytes, 88, hello.live, 8);
  store_le(bytes, 96, hello.steps, 8);
  store_le(bytes, 104, hello.gave_up ? 1 : 0, 1);
  store_le(bytes, 105, hello.refuses_rollback ? 1 : 0, 1);
  store_le(bytes, 106, hello.failed, 1);
  store_le(bytes, 108, hello.classes.size(), 4);
  for (const ClassState& state : hello.classes) append_class(bytes, state);
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
  hello.session = load_le(bytes, 72, 8);
  hello.step = load_le(bytes, 80, 8);
  hello.live = load_le(bytes, 88, 8);
  hello.steps = load_le(bytes, 96, 8);
  hello.gave_up = load_le(bytes, 104, 1) != 0;
  hello.refuses_rollback = load_le(bytes, 105, 1) != 0;
  hello.failed = static_cast<std::uint8_t>(load_le(bytes, 106, 1));
  const std::size_t classes = load_le(bytes, 108, 4);
  if (classes > kMaxLeaseClasses || hello.steps >= kMaxBundleNumber) return malformed("HELLO");
  std::size_t at = kHelloFixedSize;
  for (std::size_t i = 0; i < classes; ++i) {
    ClassState state;
    if (!read_class(bytes, at, state)) return malformed("HELLO");
    hello.classes.push_back(std::move(state));
  }
  if (at != bytes.size() || !classes_are_sorted(hello.classes)) return malformed("HELLO");
  return hello;
}

std::vector<std::uint8_t> encode_durable(const Durable& durable) {
  std::vector<std::uint8_t> bytes(kDurableFixedSize + kLeasedSize * durable.ranges.size());
  store_le(bytes, 0, kDurableMagic, 8);
  store_le(bytes, 8, durable.lane, 4);
  store_le(bytes, 12, durable.failed, 1);
  store_le(bytes, 16, durable.session, 8);
  store_le(bytes, 24, durable.ranges.size(), 4);
  store_bytes(bytes, 32, durable.hellos);
  std::size_t at = kDurableFixedSize;
  for (const LeasedRange& range : durable.ranges) {
    store_le(bytes, at, range.first, 8);
    store_le(bytes, at + 8, range.end, 8);
    at += kLeasedSize;
  }
  return bytes;
}

Result<Durable> decode_durable(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kDurableFixedSize || load_le(bytes, 0, 8) != kDurableMagic) {
    return malformed("DURABLE");
  }
  Durable durable;
  durable.lane = static_cast<std::uint32_t>(load_le(bytes, 8, 4));
  durable.failed = static_cast<std::uint8_t>(load_le(bytes, 12, 1));
  durable.session = load_le(bytes, 16, 8);
  const std::size_t classes = load_le(bytes, 24, 4);
  load_bytes(bytes, 32, durable.hellos);
  if (classes > kMaxLeaseClasses || bytes.size() != kDurableFixedSize + kLeasedSize * classes) {
    return malformed("DURABLE");
  }
  for (std::size_t at = kDurableFixedSize; at < bytes.size(); at += kLeasedSize) {
    durable.ranges.push_back({load_le(bytes, at, 8), load_le(bytes, at + 8, 8)});
  }
  return durable;
}

}  // namespace beaverpond
