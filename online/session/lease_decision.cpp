// What follows from the HELLOs of all live players. Pure: each of them computes the same.
#include <algorithm>
#include <bit>
#include <string>

#include "offline/pool/pool_set.h"
#include "online/session/lease_messages.h"

namespace beaverpond {
namespace {

Error mismatch(ErrorCode code, int player, const std::string& what) {
  Error error = make_error(code, "player " + std::to_string(player) + " " + what);
  error.player = player;
  return error;
}

std::string place_of(const Hello& hello) {
  std::string place = "step " + std::to_string(hello.step);
  if (!hello.classes.empty()) {
    place = "lane " + std::to_string(hello.classes.front().key.lane) + " " + place;
  }
  return place;
}

Result<void> check_classes(const Hello& mine, const Hello& theirs, int player) {
  // A player that cannot go on may not even know its classes.
  if (theirs.failed != 0 || mine.failed != 0) return {};
  if (theirs.classes.size() != mine.classes.size()) {
    return mismatch(ErrorCode::kRosterMismatch, player,
                    "needs bundles of " + std::to_string(theirs.classes.size()) +
                        " plans, here it is " + std::to_string(mine.classes.size()) +
                        "; give all players the same model, batch and release");
  }
  for (std::size_t i = 0; i < mine.classes.size(); ++i) {
    const ClassState& a = mine.classes[i];
    const ClassState& b = theirs.classes[i];
    if (b.key.plan != a.key.plan || b.per_step != a.per_step) {
      return mismatch(ErrorCode::kRosterMismatch, player,
                      "runs another plan: " + std::to_string(b.per_step) + " of " +
                          to_hex(std::span(b.key.plan).first(8)) + " a step, here it is " +
                          std::to_string(a.per_step) + " of " +
                          to_hex(std::span(a.key.plan).first(8)) +
                          "; give all players the same model, batch and release");
    }
    if (b.witnesses.size() != static_cast<std::size_t>(mine.pool.players)) {
      return mismatch(ErrorCode::kProtocolMismatch, player,
                      "sent a malformed HELLO; run the same release on all players");
    }
  }
  return {};
}

Result<void> check_pair(const Hello& mine, const Hello& theirs, int player) {
  PoolIdentity expected = mine.pool;
  expected.player = player;
  const std::string difference = describe_difference(expected, theirs.pool);
  if (!difference.empty()) {
    return mismatch(ErrorCode::kRosterMismatch, player,
                    "has another pool: " + difference + "; give all players the same roster");
  }
  if (theirs.live != mine.live) {
    return mismatch(ErrorCode::kRosterMismatch, player,
                    "counts other players as live; give all players the same list");
  }
  BP_TRY(check_classes(mine, theirs, player));
  const bool same_lanes = std::equal(
      mine.classes.begin(), mine.classes.end(), theirs.classes.begin(), theirs.classes.end(),
      [](const ClassState& a, const ClassState& b) { return a.key.lane == b.key.lane; });
  const bool comparable = theirs.failed == 0 && mine.failed == 0;
  if (theirs.session != mine.session || theirs.step != mine.step || (comparable && !same_lanes)) {
    return mismatch(ErrorCode::kProtocolMismatch, player,
                    "is at another place: " + place_of(theirs) + ", here " + place_of(mine) +
                        "; start all players from the same checkpoint");
  }
  return {};
}

/// A stretch of bundles without a hole that all live players hold.
struct Run {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  std::vector<PublishedRange> segments;
};

/// The lowest run at or above `floor` with at least `least` bundles; empty if there is none.
Run find_run(const std::vector<PublishedRange>& common, std::uint64_t floor, std::uint64_t least) {
  Run run;
  for (const PublishedRange& range : common) {
    if (range.end() <= floor) continue;
    if (!run.segments.empty() && range.first == run.segments.back().end()) {
      run.end = range.end();
      run.segments.push_back(range);
      continue;
    }
    if (run.end - run.first >= least) break;
    // An overlap is not ours to join, and a hole ends the run.
    if (!run.segments.empty() && range.first < run.end) continue;
    run.first = std::max(range.first, floor);
    run.end = range.end();
    run.segments = {range};
  }
  return run.end - run.first >= least ? run : Run{};
}

}  // namespace

Result<void> check_hellos(const std::vector<Hello>& hellos, int me) {
  const auto mine = std::find_if(hellos.begin(), hellos.end(),
                                 [me](const Hello& h) { return h.pool.player == me; });
  BP_CHECK(mine != hellos.end(), "our own HELLO is among those of the live players");
  PlayerMask left = mine->live;
  for (const Hello& hello : hellos) {
    const int player = std::countr_zero(left);
    BP_TRY(check_pair(*mine, hello, player));
    left &= left - 1;
  }
  for (const Hello& hello : hellos) {
    if (hello.failed == 0) continue;
    const auto code = static_cast<ErrorCode>(hello.failed);
    return mismatch(ErrorCode::kPeerLost, hello.pool.player,
                    std::string("cannot use its pool (") + to_string(code) +
                        "); see that player's own message");
  }
  for (const ClassState& state : mine->classes) {
    const int owner = lane_owner(state.key.lane, mine->pool.players);
    if ((mine->live >> owner & 1) != 0) continue;
    return mismatch(ErrorCode::kConfig, owner,
                    "owns " + state.key.str() +
                        " and is not among the live players; bring it back, or use a lane of a "
                        "player that is live");
  }
  return {};
}

LeaseDecision decide_lease(const std::vector<Hello>& hellos) {
  LeaseDecision decision;
  decision.steps = ~std::uint64_t{0};
  for (const Hello& hello : hellos) decision.steps = std::min(decision.steps, hello.steps);
  std::vector<Run> runs;
  for (std::size_t i = 0; i < hellos.front().classes.size(); ++i) {
    ClassDecision one;
    std::vector<std::vector<PublishedRange>> published;
    for (const Hello& hello : hellos) {
      const ClassState& state = hello.classes[i];
      one.floor = std::max(one.floor, state.watermark);
      for (const std::uint64_t seen : state.witnesses) one.floor = std::max(one.floor, seen);
      published.push_back(state.published);
    }
    const std::uint64_t per_step = hellos.front().classes[i].per_step;
    runs.push_back(find_run(common_ranges(published), one.floor, per_step));
    const Run& run = runs.back();
    decision.steps = std::min(decision.steps, (run.end - run.first) / per_step);
    decision.classes.push_back(one);
  }
  // All classes or none: what is short of one class must not tie up another.
  for (std::size_t i = 0; i < runs.size(); ++i) {
    ClassDecision& one = decision.classes[i];
    one.first = one.end = one.floor;
    if (decision.empty()) continue;
    one.first = runs[i].first;
    one.end = one.first + decision.steps * hellos.front().classes[i].per_step;
    for (const PublishedRange& range : runs[i].segments) {
      if (range.first < one.end) one.segments.push_back(range);
    }
  }
  return decision;
}

std::vector<Rollback> find_rollbacks(const std::vector<Hello>& hellos) {
  std::vector<Rollback> found;
  for (const Hello& hello : hellos) {
    const auto player = static_cast<std::size_t>(hello.pool.player);
    for (std::size_t i = 0; i < hello.classes.size(); ++i) {
      const ClassState& state = hello.classes[i];
      std::uint64_t seen = 0;
      for (const Hello& other : hellos) seen = std::max(seen, other.classes[i].witnesses[player]);
      if (state.watermark < seen) {
        found.push_back({hello.pool.player, state.key, state.watermark, seen});
      }
    }
  }
  return found;
}

}  // namespace beaverpond
