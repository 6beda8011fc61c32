#include "offline/factory/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <sstream>
#include <utility>
#include <vector>

namespace beaverpond {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

/// Collects the families in the order of their first value.
class Families {
 public:
  void gauge(const char* name, const char* help, Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.gauge.value = value;
    add(name, help, MetricType::Gauge, std::move(metric));
  }
  void counter(const char* name, const char* help, Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.counter.value = value;
    add(name, help, MetricType::Counter, std::move(metric));
  }
  const std::vector<MetricFamily>& all() const { return families_; }

 private:
  void add(const char* name, const char* help, MetricType type, ClientMetric metric) {
    for (MetricFamily& family : families_) {
      if (family.name != name) continue;
      family.metric.push_back(std::move(metric));
      return;
    }
    MetricFamily family;
    family.name = name;
    family.help = help;
    family.type = type;
    family.metric.push_back(std::move(metric));
    families_.push_back(std::move(family));
  }

  std::vector<MetricFamily> families_;
};

void add_class(Families& families, const ClassStatus& c) {
  const Labels of_class = {{"class", c.name}};
  const auto number = [](std::uint64_t value) { return static_cast<double>(value); };
  families.gauge("beaverpond_pool_level_bundles",
                 "Bundles that all players have and none has leased", of_class,
                 number(c.level_bundles));
  families.gauge("beaverpond_mark_bundles", "Filling begins below low and ends at high",
                 {{"class", c.name}, {"mark", "low"}}, number(c.low_bundles));
  families.gauge("beaverpond_mark_bundles", "", {{"class", c.name}, {"mark", "high"}},
                 number(c.high_bundles));
  families.gauge("beaverpond_consumption_bundles_per_second", "Over the last minute", of_class,
                 c.consumed_per_second);
  if (c.seconds_left >= 0) {
    families.gauge("beaverpond_pool_seconds_left", "Until the pool is dry at this consumption",
                   of_class, c.seconds_left);
  }
  families.counter("beaverpond_bundles_produced_total", "Bundles published on every player",
                   of_class, number(c.produced_bundles));
  families.counter("beaverpond_bundles_discarded_total",
                   "Bundles of segments that were not finished", of_class,
                   number(c.discarded_bundles));
  families.counter("beaverpond_bytes_produced_total", "Bytes written to all pools", of_class,
                   number(c.produced_bytes));
  families.counter("beaverpond_generation_seconds_total", "Time spent dealing and writing",
                   of_class, c.generation_seconds);
  families.counter("beaverpond_sync_seconds_total", "Time spent making segments durable", of_class,
                   c.sync_seconds);
  for (const PlayerStatus& player : c.players) {
    const Labels of_player = {{"class", c.name}, {"player", player.name}};
    families.gauge("beaverpond_bundles_available",
                   "Bundles published for the player that it has not leased", of_player,
                   number(player.available_bundles));
    families.counter("beaverpond_bundles_consumed_total",
                     "Bundles leased by the player since the factory started", of_player,
                     number(player.consumed_bundles));
  }
}

}  // namespace

std::string metrics_text(const FactoryStatus& status) {
  Families families;
  const auto number = [](std::uint64_t value) { return static_cast<double>(value); };
  families.gauge("beaverpond_ready", "1 if jobs may count on the factory", {},
                 why_not_ready(status).empty() ? 1 : 0);
  families.gauge("beaverpond_paused", "1 while there is no room for what is wanted", {},
                 status.state == "paused" ? 1 : 0);
  families.gauge("beaverpond_pool_used_bytes", "Files of all pools", {}, number(status.used_bytes));
  families.gauge("beaverpond_disk_free_bytes", "On the fullest disk that holds a pool", {},
                 number(status.free_bytes));
  families.gauge("beaverpond_disk_budget_bytes", "Limit for the files of all pools; 0: none", {},
                 number(status.budget_bytes));
  families.gauge("beaverpond_disk_reserve_bytes", "Bytes that are left free", {},
                 number(status.reserve_bytes));
  families.counter("beaverpond_cpu_seconds_total", "CPU time of the factory", {},
                   status.cpu_seconds);
  families.gauge("beaverpond_start_time_seconds", "When the factory started, Unix time", {},
                 status.started_unix_seconds);
  for (const ClassStatus& of_class : status.classes) add_class(families, of_class);
  std::ostringstream text;
  const prometheus::TextSerializer serializer;
  serializer.Serialize(text, families.all());
  return text.str();
}

}  // namespace beaverpond
