#include <cstdio>
#include <iterator>
#include <numeric>

#include "offline/plan/file.h"
#include "online/cli/commands.h"
#include "online/cli/cost_table.h"
#include "online/nn/inference.h"
#include "online/nn/trainer.h"
#include "online/protocol/cost.h"
#include "online/protocol/memory_plan.h"

namespace beaverpond {
namespace {

/// What is planned, and what it costs one player.
struct Planned {
  Program program;
  Plan plan;
  std::optional<Plan> wide_plan;               // where the job leaves the profile open
  std::optional<double> wide_dealing_seconds;  // of one of its bundles
  CostTable bundle;                            // of one bundle
  CostTable job;                               // of all steps; empty for inference
  std::uint64_t bundles = 0;                   // of a training
  /// By player, of one bundle, where they differ by more than what is revealed to whom: SecureNN's.
  std::vector<std::uint64_t> bytes_by_player;
};

Result<Planned> plan_costs(const PlanOptions& options, const Job& job) {
  Planned planned;
  if (options.inference) {
    InferenceOptions ask{options.batch, 1, options.asker, options.weights_owner, options.series};
    if (options.shared_weights) ask.weights_owner.reset();
    BP_ASSIGN(InferenceSetup setup, prepare_inference(job, job.pool.prg, ask));
    planned.program = std::move(setup.inference.program);
    planned.plan = std::move(setup.plan);
    planned.wide_plan = std::move(setup.wide_plan);
  } else {
    BP_ASSIGN(TrainingSetup setup, prepare_training(job, job.pool.prg));
    planned.program = std::move(setup.training.program);
    planned.plan = std::move(setup.plan);
    planned.wide_plan = std::move(setup.wide_plan);
    planned.bundles = job.training.steps;
  }
  if (options.player >= job.players) {
    return make_error(ErrorCode::kConfig, "--player is one of players 0.." +
                                              std::to_string(job.players - 1) + " of " + job.file);
  }
  const auto players = static_cast<int>(job.players);
  const auto rank = static_cast<int>(options.player);
  const auto bundle_of = [&](int player) {
    return predicted_costs(planned.program, runs_of_bundle(planned.program, planned.plan, player),
                           players, player);
  };
  planned.bundle = bundle_of(rank);
  for (int player = 0; job.protocol != Protocol::kAdditive && player < players; ++player) {
    planned.bytes_by_player.push_back(bundle_of(player).total.bytes_sent);
  }
  if (planned.bundles > 0) {
    planned.job = predicted_costs(planned.program,
                                  runs_of_training(planned.program, planned.plan, planned.bundles,
                                                   job.reveal.loss_every, rank),
                                  players, rank);
  }
  BP_ASSIGN(const std::vector<DealingTimes> dealings,
            read_dealings(options.dealing, planned.plan, planned.wide_plan, job.players));
  if (const auto* const dealing = dealing_of_plan(dealings, planned.plan); dealing != nullptr) {
    put_dealing(planned.bundle, planned.program, planned.plan, *dealing, 1);
    if (planned.bundles > 0) {  // inference has no job
      put_dealing(planned.job, planned.program, planned.plan, *dealing, planned.bundles);
    }
  }
  if (!planned.wide_plan.has_value()) return planned;
  if (const auto* const wide = dealing_of_plan(dealings, *planned.wide_plan); wide != nullptr) {
    planned.wide_dealing_seconds =
        std::accumulate(wide->entry_seconds.begin(), wide->entry_seconds.end(), 0.0);
  }
  return planned;
}

void print_json(const PlanOptions& options, const Job& job, const Planned& planned) {
  JsonFields fields = {{"job", job.name},
                       {"plan", to_hex(plan_hash(planned.plan))},
                       {"profile", std::string(to_string(planned.plan.profile))},
                       {"players", std::uint64_t{job.players}},
                       {"player", std::uint64_t{options.player}},
                       {"members", std::uint64_t{planned.plan.members}},
                       {"rounds", planned.bundle.total.rounds},
                       {"bytes_sent", planned.bundle.total.bytes_sent},
                       {"bundle_bytes", planned.bundle.total.bundle_bytes},
                       {"multiply_adds", planned.bundle.total.multiply_adds}};
  for (std::size_t player = 0; player < planned.bytes_by_player.size(); ++player) {
    fields.emplace_back("bytes_sent_" + std::to_string(player), planned.bytes_by_player[player]);
  }
  if (planned.plan.protocol == Protocol::kAdditive) {
    const MemoryPlan memory = plan_memory(planned.program, planned.plan);
    fields.emplace_back("tensor_bytes", memory.size.value);
    fields.emplace_back("tensor_bytes_apart", memory.apart.value);
  }
  if (planned.wide_plan.has_value()) {
    fields.emplace_back("wan_plan", to_hex(plan_hash(*planned.wide_plan)));
    fields.emplace_back("wan_bundle_bytes", planned.wide_plan->correction_size.value);
    fields.emplace_back(
        "wan_rounds",
        std::uint64_t{run_cost(planned.program, *planned.wide_plan, {}).rounds.size()});
  }
  if (planned.wide_dealing_seconds.has_value()) {
    fields.emplace_back("wan_dealing_seconds", *planned.wide_dealing_seconds);
  }
  if (planned.bundle.dealt) {
    fields.emplace_back("dealing_seconds", planned.bundle.total.dealing_seconds);
  }
  if (planned.bundles > 0) {
    fields.emplace_back("bundles", planned.bundles);
    fields.emplace_back("job_rounds", planned.job.total.rounds);
    fields.emplace_back("job_bytes_sent", planned.job.total.bytes_sent);
    fields.emplace_back("job_bundle_bytes", planned.job.total.bundle_bytes);
    fields.emplace_back("job_multiply_adds", planned.job.total.multiply_adds);
  }
  std::printf("%s\n", json_line(fields, json_costs(planned.bundle)).c_str());
}

std::string unit_of(const PlanOptions& options, const Plan& plan) {
  if (!options.inference) return "one step";
  if (plan.members == 1) return "one batch";
  return "one series of " + std::to_string(plan.members) + " batches";
}

std::string with_unit(std::uint64_t count) {
  constexpr const char* kUnits[] = {"", " k", " M", " G", " T", " P"};
  auto value = static_cast<double>(count);
  std::size_t unit = 0;
  for (; value >= 1000 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, "%.3g%s", value, kUnits[unit]);
  return text;
}

void print_job(const PlanOptions& options, const Job& job, const Planned& planned) {
  const auto bundle_bytes = static_cast<double>(planned.plan.correction_size.value);
  const std::uint64_t products = planned.bundle.total.multiply_adds;
  std::printf(
      "\nplan %s, %s\none bundle is %.2f MB, held by one player in turn; dealing it is %s "
      "mult-adds, spending it %s on every player\n",
      to_hex(plan_hash(planned.plan)).c_str(), to_string(planned.plan.prg), bundle_bytes / 1e6,
      with_unit(products).c_str(), with_unit(2 * products).c_str());
  const std::vector<std::uint64_t>& bytes = planned.bytes_by_player;
  if (!bytes.empty()) {
    std::printf("%s: players 0, 1 and the assistant send %.2f, %.2f and %.2f MB a bundle\n",
                to_string(planned.plan.protocol), static_cast<double>(bytes[0]) / 1e6,
                static_cast<double>(bytes[1]) / 1e6, static_cast<double>(bytes[2]) / 1e6);
  }
  if (planned.plan.protocol == Protocol::kAdditive) {
    const MemoryPlan memory = plan_memory(planned.program, planned.plan);
    std::printf(
        "a player's tensors take %.2f MB, in places they take turns in (%.2f MB side by side); "
        "states, bundle and messages in flight not included\n",
        static_cast<double>(memory.size.value) / 1e6,
        static_cast<double>(memory.apart.value) / 1e6);
  }
  if (planned.bundles == 0) return;
  const CostRow& total = planned.job.total;
  const auto all_bytes = static_cast<double>(total.bundle_bytes);
  std::printf("%s: %llu steps, %llu bundles, %.2f GB in all, %.2f GB per player\n",
              job.name.c_str(), static_cast<unsigned long long>(planned.bundles),
              static_cast<unsigned long long>(planned.bundles), all_bytes / 1e9,
              all_bytes / job.players / 1e9);
  std::printf("player %u sends %.3f GB in %llu rounds; ", options.player,
              static_cast<double>(total.bytes_sent) / 1e9,
              static_cast<unsigned long long>(total.rounds));
  std::printf("dealing is %s mult-adds", with_unit(total.multiply_adds).c_str());
  if (planned.job.dealt) std::printf(", %.3g core hours", total.dealing_seconds / 3600);
  std::printf("\n");
}

/// x.plan becomes x.wan.plan.
std::string wide_path(const std::string& path) {
  const std::string suffix = ".plan";
  const bool usual = path.size() > suffix.size() && path.ends_with(suffix);
  return (usual ? path.substr(0, path.size() - suffix.size()) : path) + ".wan.plan";
}

void print_wide(const PlanOptions& options, const Planned& planned) {
  if (!planned.wide_plan.has_value()) return;
  const Plan& wide = *planned.wide_plan;
  std::printf(
      "profile = \"auto\": the players take this plan (lan) or the one of few rounds (wan), %s: "
      "%zu "
      "rounds, one bundle is %.2f MB",
      to_hex(plan_hash(wide)).c_str(), run_cost(planned.program, wide, {}).rounds.size(),
      static_cast<double>(wide.correction_size.value) / 1e6);
  if (planned.wide_dealing_seconds.has_value()) {
    std::printf(", dealt in %.3g core ms", 1e3 * *planned.wide_dealing_seconds);
  }
  std::printf("\n");
  if (options.output.empty()) return;
  std::printf("the factory needs both files: %s and %s\n", options.output.c_str(),
              wide_path(options.output).c_str());
}

}  // namespace

Result<void> run_plan(const PlanOptions& options) {
  BP_TRY(check_output_path(options.output));
  BP_ASSIGN(const Job job, read_job(options.job));
  BP_ASSIGN(const Planned planned, plan_costs(options, job));
  if (!options.output.empty()) {
    BP_TRY(write_plan_file(planned.plan, options.output));
    if (planned.wide_plan.has_value()) {
      BP_TRY(write_plan_file(*planned.wide_plan, wide_path(options.output)));
    }
  }
  for (const std::string& note : job.notes) {
    std::fprintf(options.json ? stderr : stdout, "note: %s\n", note.c_str());
  }
  if (options.json) {
    print_json(options, job, planned);
    return {};
  }
  std::printf("%s, player %u of %u:\n\n%s", unit_of(options, planned.plan).c_str(), options.player,
              job.players, format_costs(planned.bundle, options.full, 1).c_str());
  print_job(options, job, planned);
  print_wide(options, planned);
  if (options.output.empty() || options.inference) return {};
  std::printf(
      "to make them: triple-factory serve --plan %s --roster ROSTER --pool DIR .. --low "
      "%llu --high %llu --disk-budget %llu\n",
      options.output.c_str(), static_cast<unsigned long long>(job.pool.low),
      static_cast<unsigned long long>(job.pool.high),
      static_cast<unsigned long long>(job.pool.disk_budget.value));
  return {};
}

}  // namespace beaverpond
