// HELLO and DURABLE of any bytes, HELLOs of any content with bytes changed after encoding, and what
// follows from HELLOs that fit together.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "online/session/lease_messages.h"

namespace {

using namespace beaverpond;

void require(bool condition) {
  if (!condition) std::abort();
}

/// As the lease would: what everybody decides must be sound whatever the others said.
void decide(const Hello& mine, const Hello& theirs) {
  const std::vector<Hello> hellos = mine.pool.player < theirs.pool.player
                                        ? std::vector<Hello>{mine, theirs}
                                        : std::vector<Hello>{theirs, mine};
  if (!check_hellos(hellos, mine.pool.player).ok() || mine.classes.empty()) return;
  (void)find_rollbacks(hellos);
  const LeaseDecision decision = decide_lease(hellos);
  require(decision.classes.size() == mine.classes.size());
  require(decision.steps <= std::min(mine.steps, theirs.steps));
  for (std::size_t i = 0; i < mine.classes.size(); ++i) {
    const ClassDecision& one = decision.classes[i];
    const ClassState& state = mine.classes[i];
    require(one.first >= one.floor && one.floor >= state.watermark);
    require(one.end - one.first == decision.steps * state.per_step);
    std::uint64_t covered = one.first;
    for (const PublishedRange& range : one.segments) {
      // Only what this player holds itself.
      require(std::find(state.published.begin(), state.published.end(), range) !=
              state.published.end());
      require(range.first <= covered && covered < range.end());
      covered = range.end();
    }
    require(decision.empty() || covered >= one.end);
  }
}

/// Numbers from the fuzzer's bytes; zeros once they end.
class Source {
 public:
  explicit Source(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  std::uint64_t number(std::size_t size) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size && at_ < bytes_.size(); ++i) {
      value |= std::uint64_t{bytes_[at_++]} << (8 * i);
    }
    return value;
  }
  /// Mostly small, so that ranges and watermarks meet.
  std::uint64_t count() { return number(number(1) < 230 ? 1 : 8); }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
};

ClassState make_class(Source& source, std::uint8_t plan) {
  ClassState state;
  state.key.plan.fill(plan);
  state.key.lane = 1;
  state.per_step = source.count();
  state.watermark = source.count();
  state.witnesses = {source.count(), source.count()};
  const std::uint64_t ranges = source.number(1) % 5;
  for (std::uint64_t i = 0; i < ranges; ++i) {
    PublishedRange range{source.count(), source.count(), {}};
    range.set_id[0] = static_cast<std::uint8_t>(source.number(1) % 3);
    state.published.push_back(range);
  }
  std::sort(state.published.begin(), state.published.end());
  return state;
}

Hello make_hello(Source& source, int player) {
  Hello hello;
  hello.pool.player = player;
  hello.pool.players = 2;
  hello.live = 3;
  hello.steps = source.count();
  const std::uint64_t classes = source.number(1) % 4;
  for (std::uint64_t i = 0; i < classes; ++i) {
    hello.classes.push_back(make_class(source, static_cast<std::uint8_t>(i)));
  }
  return hello;
}

void decode_any(std::span<const std::uint8_t> bytes) {
  const auto durable = decode_durable(bytes);
  if (durable.ok()) require(decode_durable(encode_durable(*durable)).value() == *durable);
  const auto hello = decode_hello(bytes);
  if (!hello.ok()) return;
  const auto encoded = encode_hello(*hello);
  require(encode_hello(decode_hello(encoded).value()) == encoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> bytes(data, size);
  decode_any(bytes);
  Source source(bytes);
  std::vector<Hello> hellos;
  const std::uint64_t changed = source.number(1) % 4;
  for (int player = 0; player < 2; ++player) {
    Hello made = make_hello(source, player);
    // The same needs on both, or the decision is never reached.
    for (std::size_t i = 0; i < made.classes.size() && !hellos.empty(); ++i) {
      if (i < hellos[0].classes.size()) made.classes[i].per_step = hellos[0].classes[i].per_step;
    }
    auto encoded = encode_hello(made);
    for (std::uint64_t i = 0; i < changed; ++i) {
      encoded[source.number(2) % encoded.size()] = static_cast<std::uint8_t>(source.number(1));
    }
    decode_any(encoded);
    auto hello = decode_hello(encoded);
    if (!hello.ok()) return 0;
    hellos.push_back(std::move(hello).value());
  }
  Durable durable;
  durable.ranges.resize(source.number(1) % 5, {source.number(8), source.number(8)});
  decode_any(encode_durable(durable));
  if (hellos[0].pool.player != 0 || hellos[1].pool.player != 1) return 0;
  decide(hellos[0], hellos[1]);
  decide(hellos[1], hellos[0]);
  return 0;
}
