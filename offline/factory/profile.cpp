#include "offline/factory/profile.h"

#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <vector>

#include "kernels/make_backend.h"
#include "offline/dealer/dealer.h"
#include "offline/plan/plan.h"
#include "offline/pool/random.h"

namespace beaverpond {
namespace {

using Clock = std::chrono::steady_clock;

struct Timing {
  std::vector<double> entry_seconds;  // by entry, mean of a bundle
  double seconds = 0;                 // mean of a bundle
};

Result<Timing> time_dealing(const Plan& plan, const ProfileArguments& arguments) {
  BP_ASSIGN(const MadeBackend made, make_backend(arguments.device));
  Backend& backend = *made.backend;
  if (!arguments.json) std::printf("%s\n", made.line.c_str());
  BP_ASSIGN(Dealer dealer, Dealer::create(plan, arguments.players, backend));
  BP_ASSIGN(const Buffer correction, backend.allocate_host(plan.correction_size));
  std::vector<Seed> seeds(static_cast<std::size_t>(arguments.players));
  for (Seed& seed : seeds) BP_TRY(fill_random_blocking(seed.mutable_bytes()));
  Timing timing;
  timing.entry_seconds.resize(plan.entries.size());
  BP_TRY(dealer.deal(seeds, 0, correction.bytes(), kHostStream));  // touches the memory
  const Clock::time_point start = Clock::now();
  for (std::uint64_t bundle = 0; bundle < arguments.bundles; ++bundle) {
    BP_TRY(dealer.deal(seeds, 0, correction.bytes(), kHostStream, timing.entry_seconds));
  }
  const auto bundles = static_cast<double>(arguments.bundles);
  timing.seconds = std::chrono::duration<double>(Clock::now() - start).count() / bundles;
  for (double& seconds : timing.entry_seconds) seconds /= bundles;
  return timing;
}

std::uint64_t bytes_of(const Plan& plan, const PlanEntry& entry) {
  return (entry.correction_size_bytes + 63) / 64 * 64 * (entry.head ? 1 : plan.members);
}

const char* source_name(const PlanEntry& entry) {
  return entry.kind == EntryKind::kMask ? "value" : "operation";
}

void print_json(const Plan& plan, const ProfileArguments& arguments, const Timing& timing) {
  for (std::size_t i = 0; i < plan.entries.size(); ++i) {
    const PlanEntry& entry = plan.entries[i];
    std::printf(R"({"profile":"entry","entry":%zu,"kind":"%s","%s":%u,"count":%llu,"bytes":%llu,)"
                R"("seconds":%.9f})"
                "\n",
                i, to_string(entry.kind), source_name(entry), entry.source,
                static_cast<unsigned long long>(entry.count),
                static_cast<unsigned long long>(bytes_of(plan, entry)), timing.entry_seconds[i]);
  }
  std::printf(
      R"({"profile":"done","plan":"%s","players":%d,"bundles":%llu,"bytes":%llu,"seconds":%.9f})"
      "\n",
      to_hex(plan_hash(plan)).c_str(), arguments.players,
      static_cast<unsigned long long>(arguments.bundles),
      static_cast<unsigned long long>(plan.correction_size.value), timing.seconds);
}

void print_entries(const Plan& plan, const Timing& timing) {
  std::printf("%5s  %-20s %-15s %12s %14s %10s\n", "entry", "kind", "of", "elements", "dealt bytes",
              "ms");
  for (std::size_t i = 0; i < plan.entries.size(); ++i) {
    const PlanEntry& entry = plan.entries[i];
    std::string source = source_name(entry);
    source += " ";
    source += std::to_string(entry.source);
    std::printf("%5zu  %-20s %-15s %12llu %14llu %10.3f\n", i, to_string(entry.kind),
                source.c_str(), static_cast<unsigned long long>(entry.count),
                static_cast<unsigned long long>(bytes_of(plan, entry)),
                timing.entry_seconds[i] * 1e3);
  }
}

void print_kinds(const Plan& plan, const Timing& timing) {
  struct Row {
    std::uint64_t entries = 0;
    std::uint64_t elements = 0;
    std::uint64_t bytes = 0;
    double seconds = 0;
  };
  std::map<EntryKind, Row> rows;
  for (std::size_t i = 0; i < plan.entries.size(); ++i) {
    Row& row = rows[plan.entries[i].kind];
    ++row.entries;
    row.elements += plan.entries[i].count;
    row.bytes += bytes_of(plan, plan.entries[i]);
    row.seconds += timing.entry_seconds[i];
  }
  std::printf("%-20s %8s %12s %14s %10s\n", "kind", "entries", "elements", "dealt bytes", "ms");
  for (const auto& [kind, row] : rows) {
    std::printf("%-20s %8llu %12llu %14llu %10.3f\n", to_string(kind),
                static_cast<unsigned long long>(row.entries),
                static_cast<unsigned long long>(row.elements),
                static_cast<unsigned long long>(row.bytes), row.seconds * 1e3);
  }
}

}  // namespace

Result<void> run_profile(const ProfileArguments& arguments) {
  BP_ASSIGN(const Plan plan, read_plan_file(arguments.plan_path));
  BP_ASSIGN(const Timing timing, time_dealing(plan, arguments));
  if (arguments.json) {
    print_json(plan, arguments, timing);
    return {};
  }
  arguments.full ? print_entries(plan, timing) : print_kinds(plan, timing);
  std::printf(
      "\none bundle for %d players: %.3f ms on one thread, %llu bytes (mean of %llu bundles)\n",
      arguments.players, timing.seconds * 1e3,
      static_cast<unsigned long long>(plan.correction_size.value),
      static_cast<unsigned long long>(arguments.bundles));
  return {};
}

}  // namespace beaverpond
