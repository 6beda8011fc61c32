// One class of a running service, and what it tells the status board; internal to offline/factory.
#pragma once

#include <deque>

#include "offline/factory/service.h"

namespace beaverpond {

struct RunningClass {
  RunningClass(SegmentMaker made_by, const Demand& wanted)
      : maker(std::move(made_by)), demand(wanted) {}

  const std::string& name() const { return maker.made().name; }
  /// Takes a new survey in: rate, marks and whether the class is filling. True if it just got full.
  bool observe(SteadyTime now, LaneSurvey seen);
  ClassLevel level() const;
  /// Adds a point to the history, at most one a second.
  void remember(double unix_seconds);
  ClassStatus status(bool paused, const std::vector<std::string>& player_names) const;
  std::uint64_t consumed() const { return survey.watermark - first_watermark; }

  SegmentMaker maker;
  Demand demand;
  RateMeter rate;
  LaneSurvey survey;
  Marks marks;
  bool surveyed = false;
  bool filling = true;
  std::uint64_t first_watermark = 0;
  std::vector<std::uint64_t> first_watermarks;  // by player
  std::uint64_t produced = 0;
  std::uint64_t discarded = 0;
  std::uint64_t bytes = 0;
  double generation_seconds = 0;
  double sync_seconds = 0;
  std::deque<HistoryPoint> history;
};

}  // namespace beaverpond
