#include "offline/factory/service_state.h"

#include <algorithm>
#include <cmath>

namespace beaverpond {

bool RunningClass::observe(SteadyTime now, LaneSurvey seen) {
  if (!surveyed) {
    first_watermark = seen.watermark;
    for (const PlayerSurvey& player : seen.players) first_watermarks.push_back(player.watermark);
    surveyed = true;
  }
  survey = std::move(seen);
  rate.observe(now, survey.watermark);
  marks = marks_of(demand, rate.per_second());
  const bool was_filling = filling;
  if (survey.level_bundles < marks.low) filling = true;
  if (survey.level_bundles >= marks.high) filling = false;
  return was_filling && !filling;
}

ClassLevel RunningClass::level() const {
  return {filling, survey.level_bundles, marks,
          seconds_left(demand, rate.per_second(), survey.level_bundles)};
}

void RunningClass::remember(double unix_seconds) {
  if (!history.empty() && unix_seconds - history.back().unix_seconds < 1) return;
  history.push_back({unix_seconds, survey.level_bundles, produced, consumed()});
  if (history.size() > StatusBoard::kHistory) history.pop_front();
}

ClassStatus RunningClass::status(bool paused, const std::vector<std::string>& player_names) const {
  ClassStatus status;
  status.name = name();
  status.plan = to_hex(std::span(maker.made().key.plan).first(8));
  status.lane = maker.made().key.lane;
  status.state = !filling ? "full" : paused ? "paused" : "filling";
  status.level_bundles = survey.level_bundles;
  status.low_bundles = marks.low;
  status.high_bundles = marks.high;
  status.consumed_per_second = rate.per_second();
  const double left = level().seconds_left;
  status.seconds_left = std::isfinite(left) ? left : -1;
  status.correction_bytes = maker.made().correction_size.value;
  status.produced_bundles = produced;
  status.consumed_bundles = consumed();
  status.discarded_bundles = discarded;
  status.produced_bytes = bytes;
  status.generation_seconds = generation_seconds;
  status.sync_seconds = sync_seconds;
  for (std::size_t player = 0; player < survey.players.size(); ++player) {
    PlayerStatus of_player;
    of_player.name = player < player_names.size() ? player_names[player] : std::to_string(player);
    of_player.available_bundles = survey.players[player].available_bundles;
    of_player.watermark = survey.players[player].watermark;
    of_player.consumed_bundles =
        of_player.watermark - std::min(of_player.watermark, first_watermarks[player]);
    status.players.push_back(std::move(of_player));
  }
  status.history.assign(history.begin(), history.end());
  return status;
}

}  // namespace beaverpond
