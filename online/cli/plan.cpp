#include <cstdio>
#include <map>

#include "offline/plan/entry_layout.h"
#include "offline/plan/file.h"
#include "online/cli/commands.h"
#include "online/nn/inference.h"
#include "online/nn/trainer.h"

namespace beaverpond {
namespace {

double multiplications(const PlanEntry& entry) {
  if (entry.kind == EntryKind::kMatMul) return double(entry.m) * entry.n * entry.k;
  if (entry.kind == EntryKind::kMultiply) return double(entry.count);
  if (!is_product(entry.kind)) return 0;
  return double(entry.conv.patch_rows()) * double(entry.conv.patch_columns()) *
         entry.conv.out_channels;
}

void print_table(const Plan& plan) {
  struct Row {
    std::uint64_t entries = 0;
    std::uint64_t elements = 0;
    std::uint64_t bytes = 0;
    double macs = 0;
  };
  std::map<EntryKind, Row> rows;
  for (const PlanEntry& entry : plan.entries) {
    Row& row = rows[entry.kind];
    ++row.entries;
    row.elements += entry.count;
    row.bytes += entry.correction_size_bytes;
    row.macs += multiplications(entry);
  }
  std::printf("%-20s %8s %12s %16s %12s\n", "relation", "entries", "elements", "dealt bytes",
              "M mult-adds");
  for (const auto& [kind, row] : rows) {
    std::printf("%-20s %8llu %12llu %16llu %12.1f\n", to_string(kind),
                static_cast<unsigned long long>(row.entries),
                static_cast<unsigned long long>(row.elements),
                static_cast<unsigned long long>(row.bytes), row.macs / 1e6);
  }
}

}  // namespace

Result<void> run_plan(const PlanOptions& options) {
  BP_TRY(check_output_path(options.output));
  BP_ASSIGN(const Job job, read_job(options.job));
  Plan plan;
  std::uint64_t bundles = 0;
  if (options.inference) {
    InferenceOptions ask{options.batch, 1, options.asker, options.weights_owner, options.series};
    if (options.shared_weights) ask.weights_owner.reset();
    BP_ASSIGN(InferenceSetup setup, prepare_inference(job, PrgKind::kAes128Ctr, ask));
    plan = std::move(setup.plan);
  } else {
    BP_ASSIGN(TrainingSetup setup, prepare_training(job, PrgKind::kAes128Ctr));
    plan = std::move(setup.plan);
    bundles = job.training.steps;
  }
  for (const std::string& note : job.notes) std::printf("note: %s\n", note.c_str());
  print_table(plan);
  const auto bundle_bytes = static_cast<double>(plan.correction_size.value);
  std::printf("\nplan %s, %s\none bundle is %.2f MB, held by one player in turn\n",
              to_hex(plan_hash(plan)).c_str(), to_string(plan.prg), bundle_bytes / 1e6);
  if (bundles > 0) {
    std::printf("%s: %llu steps, %llu bundles, %.2f GB in all, %.2f GB per player\n",
                job.name.c_str(), static_cast<unsigned long long>(bundles),
                static_cast<unsigned long long>(bundles),
                bundle_bytes * static_cast<double>(bundles) / 1e9,
                bundle_bytes * static_cast<double>(bundles) / job.players / 1e9);
  }
  if (options.output.empty()) return {};
  BP_TRY(write_plan_file(plan, options.output));
  if (!options.inference) {
    std::printf(
        "to make them: triple-factory serve --plan %s --roster ROSTER --pool DIR .. --low "
        "%llu --high %llu --disk-budget %llu\n",
        options.output.c_str(), static_cast<unsigned long long>(job.pool.low),
        static_cast<unsigned long long>(job.pool.high),
        static_cast<unsigned long long>(job.pool.disk_budget.value));
  }
  return {};
}

}  // namespace beaverpond
