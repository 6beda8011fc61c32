#include "online/session/plan_choice.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>

#include "offline/pool/block.h"
#include "online/session/bundle_source.h"

namespace beaverpond {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPairs = 5;
constexpr int kRounds = 1 + 2 * kPairs;  // in the first one the players meet

/// Bundles of every player, the fewest; 0 if one has none.
std::uint64_t ready(std::span<const PlanVote> votes, std::size_t option) {
  std::uint64_t fewest = UINT64_MAX;
  for (const PlanVote& vote : votes) fewest = std::min(fewest, vote.bundles[option]);
  return fewest;
}

std::uint64_t slowest_round(std::span<const PlanVote> votes) {
  std::uint64_t slowest = 0;
  for (const PlanVote& vote : votes) slowest = std::max(slowest, vote.round_ns);
  return slowest;
}

std::vector<std::uint8_t> encode(const PlanVote& vote) {
  std::vector<std::uint8_t> bytes(8 * (1 + vote.bundles.size()));
  store_le(bytes, 0, vote.round_ns, 8);
  for (std::size_t i = 0; i < vote.bundles.size(); ++i) {
    store_le(bytes, 8 * (i + 1), vote.bundles[i], 8);
  }
  return bytes;
}

Result<PlanVote> decode(std::span<const std::uint8_t> bytes, std::size_t options, int player) {
  if (bytes.size() != 8 * (1 + options)) {
    Error error = make_error(ErrorCode::kProtocolMismatch,
                             "the vote of player " + std::to_string(player) +
                                 " on the plan has another size; run the same release on all "
                                 "players");
    error.player = player;
    return error;
  }
  PlanVote vote;
  vote.round_ns = load_le(bytes, 0, 8);
  for (std::size_t i = 0; i < options; ++i) vote.bundles.push_back(load_le(bytes, 8 * (i + 1), 8));
  return vote;
}

std::string reason_of(std::span<const PlanOption> options, std::span<const PlanVote> votes,
                      const PlanChoice& choice) {
  std::size_t served = 0;
  for (std::size_t i = 0; i < options.size(); ++i) served += ready(votes, i) > 0 ? 1 : 0;
  char text[160];
  std::snprintf(text, sizeof text, "profile %s: a round takes %.2f ms; %s",
                options[choice.index].name.c_str(), static_cast<double>(choice.round_ns) / 1e6,
                served == 1  ? "the pools have bundles of no other"
                : served > 1 ? "the pools have bundles of all"
                             : "the pools have no bundles yet");
  return text;
}

}  // namespace

Result<std::uint64_t> measure_round_blocking(Transport& transport, Tag tag, Deadline deadline) {
  std::array<std::uint64_t, kPairs> taken{};
  auto start = Clock::now();
  for (int round = 0; round < kRounds; ++round) {
    BP_TRY(transport.all_gather_messages_blocking({}, tag, deadline));
    ++tag.bundle;
    if (round % 2 != 0) continue;
    const auto end = Clock::now();
    const auto pair = std::chrono::duration_cast<std::chrono::nanoseconds>(end - start);
    if (round > 0)
      taken[static_cast<std::size_t>(round / 2 - 1)] = static_cast<std::uint64_t>(pair.count()) / 2;
    start = end;
  }
  std::sort(taken.begin(), taken.end());
  return taken[kPairs / 2];
}

std::size_t decide_plan(std::span<const PlanOption> options, std::span<const PlanVote> votes) {
  BP_CHECK(!options.empty() && !votes.empty(), "there is something to choose, and somebody");
  bool any = false;
  for (std::size_t i = 0; i < options.size(); ++i) any = any || ready(votes, i) > 0;
  // A player's clock may say anything; an hour is beyond every time limit.
  const std::uint64_t round_ns =
      std::min<std::uint64_t>(slowest_round(votes), std::uint64_t{3'600'000'000'000});
  std::size_t best = options.size();
  double least = 0;
  for (std::size_t i = 0; i < options.size(); ++i) {
    if (any && ready(votes, i) == 0) continue;
    // Whole nanoseconds below 2^53 are exact, so all players compare the same numbers.
    const double cost =
        static_cast<double>(options[i].rounds) * static_cast<double>(round_ns) +
        static_cast<double>(options[i].correction_bytes) * 1e9 / kCorrectionBytesPerSecond;
    if (best != options.size() && cost >= least) continue;
    best = i;
    least = cost;
  }
  return best;
}

Result<PlanChoice> choose_plan_blocking(Pool& pool, std::uint32_t lane, Transport& transport,
                                        const Session& session, std::span<const PlanOption> options,
                                        Deadline deadline) {
  PlanVote mine;
  for (const PlanOption& option : options) {
    BP_ASSIGN(const std::uint64_t bundles, bundles_ready(pool, LaneKey{option.plan, lane}));
    mine.bundles.push_back(bundles);
  }
  Tag tag{session.id(), 0, lane, kPlanOperation};
  BP_ASSIGN(mine.round_ns, measure_round_blocking(transport, tag, deadline));
  tag.bundle = kRounds;
  BP_ASSIGN(const auto messages,
            transport.all_gather_messages_blocking(encode(mine), tag, deadline));
  std::vector<PlanVote> votes;
  for (std::size_t player = 0; player < messages.size(); ++player) {
    BP_ASSIGN(PlanVote vote, decode(messages[player], options.size(), static_cast<int>(player)));
    votes.push_back(std::move(vote));
  }
  PlanChoice choice;
  choice.index = decide_plan(options, votes);
  choice.round_ns = slowest_round(votes);
  choice.reason = reason_of(options, votes, choice);
  return choice;
}

}  // namespace beaverpond
