#include "offline/factory/report.h"

#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

namespace beaverpond {
namespace {

using Json = nlohmann::ordered_json;

const char* name_of(FactoryEvent::Kind kind) {
  switch (kind) {
    case FactoryEvent::Kind::kSegment: return "segment";
    case FactoryEvent::Kind::kPaused: return "paused";
    case FactoryEvent::Kind::kResumed: return "resumed";
    case FactoryEvent::Kind::kFull: return "full";
    case FactoryEvent::Kind::kDropped: return "dropped";
    case FactoryEvent::Kind::kDraining: return "draining";
    case FactoryEvent::Kind::kReloaded: return "reloaded";
    case FactoryEvent::Kind::kListening: return "listening";
    case FactoryEvent::Kind::kDelivery: return "delivery";
    case FactoryEvent::Kind::kDevice: return "device";
  }
  return "unknown";
}

/// UTC, as 2026-01-31T12:00:00.123Z.
std::string timestamp() {
  std::timespec now{};
  std::timespec_get(&now, TIME_UTC);
  std::tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  char date[32];
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts);
  char text[48];
  std::snprintf(text, sizeof(text), "%s.%03ldZ", date, now.tv_nsec / 1000000);
  return text;
}

/// Text from elsewhere (paths, messages of the system) need not be UTF-8.
std::string dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

double rounded(double value) {
  return static_cast<double>(static_cast<long long>(value * 1000 + 0.5)) / 1000;
}

std::string json_event(const FactoryEvent& event) {
  Json line{{"factory", name_of(event.kind)}, {"time", timestamp()}};
  if (!event.name.empty()) line["class"] = event.name;
  if (event.kind == FactoryEvent::Kind::kSegment) {
    line["first"] = event.segment.range.first;
    line["count"] = event.segment.range.count;
    line["bytes"] = event.segment.bytes;
    line["generation_seconds"] = rounded(event.segment.generation_seconds);
    line["sync_seconds"] = rounded(event.segment.sync_seconds);
  }
  if (!event.name.empty() || event.level_bundles != 0) line["level"] = event.level_bundles;
  const bool listening = event.kind == FactoryEvent::Kind::kListening;
  if (!event.reason.empty()) line[listening ? "url" : "reason"] = event.reason;
  return dump(line);
}

std::string plain_event(const FactoryEvent& event) {
  const std::string level = std::to_string(event.level_bundles);
  const std::string name = event.name.empty() ? "" : event.name + ": ";
  switch (event.kind) {
    case FactoryEvent::Kind::kSegment:
      return name + "published " + event.segment.range.str() + ", " +
             std::to_string(event.segment.bytes) + " bytes; each pool now has " + level +
             " bundles";
    case FactoryEvent::Kind::kPaused:
      return name + "paused at " + level + " bundles: " + event.reason;
    case FactoryEvent::Kind::kResumed: return name + "there is room again";
    case FactoryEvent::Kind::kFull: return name + "full: each pool has " + level + " bundles";
    case FactoryEvent::Kind::kDropped: return name + "a segment was dropped: " + event.reason;
    case FactoryEvent::Kind::kDraining: return "stopping";
    case FactoryEvent::Kind::kReloaded: return "reload: " + event.reason;
    case FactoryEvent::Kind::kListening: return "listening at " + event.reason;
    case FactoryEvent::Kind::kDelivery: return "delivery: " + event.reason;
    case FactoryEvent::Kind::kDevice: return event.reason;
  }
  return name;
}

Json player_json(const PlayerStatus& player) {
  return {{"name", player.name},
          {"available_bundles", player.available_bundles},
          {"watermark", player.watermark},
          {"consumed_bundles", player.consumed_bundles}};
}

Json class_json(const ClassStatus& of_class) {
  Json json{{"name", of_class.name},
            {"plan", of_class.plan},
            {"lane", of_class.lane},
            {"state", of_class.state},
            {"level_bundles", of_class.level_bundles},
            {"low_bundles", of_class.low_bundles},
            {"high_bundles", of_class.high_bundles},
            {"consumed_per_second", rounded(of_class.consumed_per_second)},
            {"seconds_left", nullptr},
            {"correction_bytes", of_class.correction_bytes},
            {"produced_bundles", of_class.produced_bundles},
            {"consumed_bundles", of_class.consumed_bundles},
            {"discarded_bundles", of_class.discarded_bundles},
            {"produced_bytes", of_class.produced_bytes},
            {"generation_seconds", rounded(of_class.generation_seconds)},
            {"sync_seconds", rounded(of_class.sync_seconds)}};
  if (of_class.seconds_left >= 0) json["seconds_left"] = rounded(of_class.seconds_left);
  Json players = Json::array();
  for (const PlayerStatus& player : of_class.players) players.push_back(player_json(player));
  json["players"] = std::move(players);
  Json history = Json::array();
  for (const HistoryPoint& point : of_class.history) {
    history.push_back(Json::array({rounded(point.unix_seconds), point.level_bundles,
                                   point.produced_bundles, point.consumed_bundles}));
  }
  json["history"] = std::move(history);
  return json;
}

}  // namespace

std::string event_line(const FactoryEvent& event, bool json) {
  return json ? json_event(event) : plain_event(event);
}

std::string pull_line(const PullEvent& event, bool json) {
  const char* name = "retrying";
  switch (event.kind) {
    case PullEvent::Kind::kStaged: name = "staged"; break;
    case PullEvent::Kind::kPublished: name = "published"; break;
    case PullEvent::Kind::kDropped: name = "dropped"; break;
    case PullEvent::Kind::kRetrying: name = "retrying"; break;
  }
  const bool retrying = event.kind == PullEvent::Kind::kRetrying;
  if (!json) {
    return std::string(name) + " " +
           (retrying ? event.reason : event.what.key.str() + " " + event.what.range.str());
  }
  Json line{{"pull", name}, {"time", timestamp()}};
  if (retrying) {
    line["reason"] = event.reason;
  } else {
    line["plan"] = to_hex(std::span(event.what.key.plan).first(8));
    line["lane"] = event.what.key.lane;
    line["first"] = event.what.range.first;
    line["count"] = event.what.range.count;
  }
  if (event.kind == PullEvent::Kind::kStaged) {
    line["bytes"] = event.bytes;
    line["resumed_from"] = event.resumed_from;
  }
  return dump(line);
}

std::string totals_line(const FactoryTotals& totals, bool json) {
  if (json) {
    return dump(Json{{"factory", "done"},
                     {"bundles", totals.bundles},
                     {"cpu_seconds", rounded(totals.cpu_seconds)},
                     {"bytes", totals.bytes}});
  }
  char seconds[32];
  std::snprintf(seconds, sizeof(seconds), "%.3f", totals.cpu_seconds);
  return "made " + std::to_string(totals.bundles) + " bundles in " + seconds + " CPU seconds, " +
         std::to_string(totals.bytes) + " bytes";
}

std::string status_json(const FactoryStatus& status) {
  const std::string not_ready = why_not_ready(status);
  Json json{{"state", status.state},
            {"reason", status.reason},
            {"ready", not_ready.empty()},
            {"not_ready_because", not_ready},
            {"started_unix_seconds", rounded(status.started_unix_seconds)},
            {"now_unix_seconds", rounded(status.now_unix_seconds)},
            {"cpu_seconds", rounded(status.cpu_seconds)},
            {"used_bytes", status.used_bytes},
            {"free_bytes", status.free_bytes},
            {"budget_bytes", status.budget_bytes},
            {"reserve_bytes", status.reserve_bytes}};
  Json classes = Json::array();
  for (const ClassStatus& of_class : status.classes) classes.push_back(class_json(of_class));
  json["classes"] = std::move(classes);
  return dump(json);
}

Result<std::string> status_text(const std::string& document) {
  const auto wrong = [] {
    return make_error(ErrorCode::kConfig,
                      "the answer is not a factory's status; check the address");
  };
  try {
    const Json json = Json::parse(document);
    std::string text = "factory " + json.at("state").get<std::string>();
    const std::string reason = json.at("reason").get<std::string>();
    if (!reason.empty()) text += ": " + reason;
    text += "\n";
    for (const Json& of_class : json.at("classes")) {
      char line[256];
      std::snprintf(line, sizeof(line),
                    "%-16s %-8s %8llu bundles (marks %llu and %llu), %.2f/s consumed, %llu made\n",
                    of_class.at("name").get<std::string>().c_str(),
                    of_class.at("state").get<std::string>().c_str(),
                    of_class.at("level_bundles").get<unsigned long long>(),
                    of_class.at("low_bundles").get<unsigned long long>(),
                    of_class.at("high_bundles").get<unsigned long long>(),
                    of_class.at("consumed_per_second").get<double>(),
                    of_class.at("produced_bundles").get<unsigned long long>());
      text += line;
    }
    return text;
  } catch (const Json::exception&) {
    return wrong();
  }
}

}  // namespace beaverpond
