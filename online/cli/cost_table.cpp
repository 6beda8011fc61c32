#include "online/cli/cost_table.h"

#include <algorithm>
#include <cstdio>
#include <functional>

#include "offline/plan/plan.h"
#include "online/securenn/cost.h"

namespace beaverpond {
namespace {

CostTable empty_table(const Program& program, const ProgramLayers& layers) {
  CostTable table;
  for (std::uint32_t i = 0; i < program.ops.size(); ++i) {
    CostRow row;
    row.layer = program.ops[i].layer;
    row.operation = to_string(program.ops[i].code);
    row.index = i;
    table.operations.push_back(std::move(row));
  }
  for (const std::string& name : layers.names) {
    CostRow row;
    row.layer = name;
    table.layers.push_back(std::move(row));
  }
  return table;
}

/// Sums of all columns but the rounds, which do not add up.
void sum_up(CostTable& table, const ProgramLayers& layers) {
  const auto clear = [](CostRow& row) {
    row.bytes_sent = row.bundle_bytes = row.multiply_adds = 0;
    row.seconds = row.dealing_seconds = 0;
  };
  const auto add = [](CostRow& to, const CostRow& row) {
    to.bytes_sent += row.bytes_sent;
    to.bundle_bytes += row.bundle_bytes;
    to.multiply_adds += row.multiply_adds;
    to.seconds += row.seconds;
    to.dealing_seconds += row.dealing_seconds;
  };
  clear(table.total);
  std::for_each(table.layers.begin(), table.layers.end(), clear);
  for (std::size_t i = 0; i < table.operations.size(); ++i) {
    add(table.layers[layers.of_op[i]], table.operations[i]);
    add(table.total, table.operations[i]);
  }
  table.total.bytes_sent += table.header_bytes;
}

/// A mean as a count where it is one.
std::string mean(std::uint64_t sum, std::uint64_t runs) {
  if (sum % runs == 0) return std::to_string(sum / runs);
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", static_cast<double>(sum) / static_cast<double>(runs));
  return text;
}

class Formatter {
 public:
  Formatter(const CostTable& table, bool full, std::uint64_t runs)
      : table_(table), full_(full), runs_(runs) {
    for (const CostRow& row : full ? table.operations : table.layers) {
      width_ = std::max(width_, name_of(row).size());
    }
  }

  std::string run() {
    text_.assign(full_ ? "operation" : "layer");
    pad();
    if (table_.measured) cell("ms");
    cell("rounds");
    cell("bytes sent");
    cell("bundle bytes");
    cell("M mult-adds");
    if (table_.dealt) cell("dealing ms");
    text_ += '\n';
    for (const CostRow& row : full_ ? table_.operations : table_.layers) {
      if (!full_ || costs_anything(row)) line(row, name_of(row));
    }
    CostRow headers;
    headers.bytes_sent = table_.header_bytes;
    line(headers, "message headers");
    line(table_.total, "total");
    return text_;
  }

 private:
  bool costs_anything(const CostRow& row) const {
    return row.rounds != 0 || row.bundle_bytes != 0 || row.seconds * 1e6 > double(runs_);
  }

  static std::string name_of(const CostRow& row) {
    std::string name;
    if (row.index.has_value()) name = std::to_string(*row.index) + ' ';
    name += row.layer.empty() ? std::string("(no layer)") : row.layer;
    if (!row.operation.empty()) name += ", " + row.operation;
    return name;
  }

  void pad() {
    if (line_size() < width_) text_.append(width_ - line_size(), ' ');
  }
  std::size_t line_size() const {
    const std::size_t end = text_.rfind('\n');
    return end == std::string::npos ? text_.size() : text_.size() - end - 1;
  }
  void cell(const std::string& value) {
    constexpr std::size_t kCell = 14;
    text_.append(value.size() < kCell ? kCell - value.size() : 1, ' ');
    text_ += value;
  }
  void number(double value, const char* format) {
    char text[32];
    std::snprintf(text, sizeof text, format, value / static_cast<double>(runs_));
    cell(text);
  }

  void line(const CostRow& row, const std::string& name) {
    text_ += name;
    pad();
    if (table_.measured) number(row.seconds * 1e3, "%.3f");
    cell(mean(row.rounds, runs_));
    cell(mean(row.bytes_sent, runs_));
    cell(mean(row.bundle_bytes, runs_));
    number(static_cast<double>(row.multiply_adds) / 1e6, "%.2f");
    if (table_.dealt) number(row.dealing_seconds * 1e3, "%.3f");
    text_ += '\n';
  }

  const CostTable& table_;
  bool full_;
  std::uint64_t runs_;
  std::size_t width_ = std::string("message headers").size();
  std::string text_;
};

JsonTable json_rows(const std::string& name, const CostTable& table,
                    const std::vector<CostRow>& rows) {
  JsonTable json{name, {}};
  for (const CostRow& row : rows) {
    JsonFields fields;
    if (row.index.has_value()) fields.emplace_back("index", std::uint64_t{*row.index});
    fields.emplace_back("layer", row.layer);
    if (!row.operation.empty()) fields.emplace_back("operation", row.operation);
    if (table.measured) fields.emplace_back("seconds", row.seconds);
    fields.emplace_back("rounds", row.rounds);
    fields.emplace_back("bytes_sent", row.bytes_sent);
    fields.emplace_back("bundle_bytes", row.bundle_bytes);
    fields.emplace_back("multiply_adds", row.multiply_adds);
    if (table.dealt) fields.emplace_back("dealing_seconds", row.dealing_seconds);
    json.rows.push_back(std::move(fields));
  }
  return json;
}

}  // namespace

CostTable predicted_costs(const Program& program, const std::vector<CostedRuns>& runs, int players,
                          int rank) {
  const ProgramLayers layers = program_layers(program);
  CostTable table = empty_table(program, layers);
  for (const auto& [cost, times] : runs) {
    std::uint64_t payload = 0;
    for (std::size_t i = 0; i < cost.ops.size(); ++i) {
      const std::uint64_t bytes = payload_bytes(program.ops[i], cost.ops[i].traffic, players, rank);
      CostRow& row = table.operations[i];
      row.rounds += times * cost.ops[i].traffic.rounds;
      row.bytes_sent += times * bytes;
      row.bundle_bytes += times * cost.ops[i].bundle_bytes;
      row.multiply_adds += times * cost.ops[i].multiply_adds;
      payload += bytes;
    }
    for (std::size_t i = 0; i < cost.layer_rounds.size(); ++i) {
      table.layers[i].rounds += times * cost.layer_rounds[i];
    }
    table.total.rounds += times * cost.rounds.size();
    table.header_bytes += times * (sent_bytes(program, cost, players, rank) - payload);
  }
  sum_up(table, layers);
  return table;
}

RunCost cost_of_run(const Program& program, const Plan& plan, const RunCostOptions& options) {
  return plan.protocol == Protocol::kAdditive ? run_cost(program, plan, options)
                                              : securenn_run_cost(program, plan, options);
}

std::vector<CostedRuns> runs_of_bundle(const Program& program, const Plan& plan, int rank) {
  return runs_of_inference(program, plan, program.members, rank);
}

std::vector<CostedRuns> runs_of_training(const Program& program, const Plan& plan,
                                         std::uint64_t steps, std::uint64_t loss_every, int rank) {
  const std::uint64_t with_loss = loss_every == 0 ? 0 : steps / loss_every;
  return {{cost_of_run(program, plan, {0, false, rank}), with_loss},
          {cost_of_run(program, plan, {0, true, rank}), steps - with_loss}};
}

std::vector<CostedRuns> runs_of_inference(const Program& program, const Plan& plan,
                                          std::uint64_t batches, int rank) {
  const std::uint64_t bundles = (batches + program.members - 1) / program.members;
  std::vector<CostedRuns> runs;
  runs.push_back({cost_of_run(program, plan, {0, false, rank}), bundles});
  if (program.members > 1) {
    runs.push_back({cost_of_run(program, plan, {1, false, rank}), batches - bundles});
  }
  return runs;
}

void put_measured(CostTable& table, const Program& program, const EngineProfile& profile,
                  std::uint64_t rounds, int players, int rank) {
  std::uint64_t payload = 0;
  for (std::size_t i = 0; i < profile.ops.size(); ++i) {
    const OpProfile& op = profile.ops[i];
    table.operations[i].seconds = op.seconds;
    table.operations[i].rounds = op.traffic.rounds;
    table.operations[i].bytes_sent = payload_bytes(program.ops[i], op.traffic, players, rank);
    payload += table.operations[i].bytes_sent;
  }
  for (std::size_t i = 0; i < profile.layer_rounds.size(); ++i) {
    table.layers[i].rounds = profile.layer_rounds[i];
  }
  table.total.rounds = rounds;
  table.header_bytes = profile.sent_bytes - payload;
  table.measured = true;
  sum_up(table, program_layers(program));
}

Result<DealingTimes> read_dealing(const std::string& path, const Plan& plan,
                                  std::uint32_t players) {
  BP_ASSIGN(const std::vector<JsonFields> lines, read_json_lines(path));
  DealingTimes dealing;
  dealing.plan = plan_hash(plan);
  bool fits = false;
  for (const JsonFields& line : lines) {
    const std::string what = json_text(line, "profile");
    if (what == "entry") {
      const std::optional<double> seconds = json_real(line, "seconds");
      if (!seconds.has_value() || *seconds < 0) {
        return make_error(ErrorCode::kConfig,
                          path + ": entry " + std::to_string(dealing.entry_seconds.size()) +
                              ": seconds is no number of at least 0; write the file with "
                              "`triple-factory profile --json`");
      }
      dealing.entry_seconds.push_back(*seconds);
    }
    if (what == "done") {
      fits = json_text(line, "plan") == to_hex(dealing.plan) &&
             json_number(line, "players") == static_cast<double>(players);
    }
  }
  if (!fits || dealing.entry_seconds.size() != plan.entries.size()) {
    return make_error(ErrorCode::kConfig,
                      path + " was not measured for this plan and " + std::to_string(players) +
                          " players; write the plan with `beaverpond plan -o x.plan`, then run "
                          "`triple-factory profile --plan x.plan --players " +
                          std::to_string(players) + " --json`");
  }
  return dealing;
}

Result<std::vector<DealingTimes>> read_dealings(const std::vector<std::string>& paths,
                                                const Plan& plan,
                                                const std::optional<Plan>& wide_plan,
                                                std::uint32_t players) {
  std::vector<DealingTimes> dealings;
  for (const std::string& path : paths) {
    Result<DealingTimes> times = read_dealing(path, plan, players);
    if (!times.ok() && wide_plan.has_value()) times = read_dealing(path, *wide_plan, players);
    if (!times.ok()) return times.error();
    for (const DealingTimes& other : dealings) {
      if (other.plan != times->plan) continue;
      return make_error(ErrorCode::kConfig, path +
                                                ": another file has the times of this plan; "
                                                "give --dealing once for each plan");
    }
    dealings.push_back(std::move(times).value());
  }
  return dealings;
}

const DealingTimes* dealing_of_plan(const std::vector<DealingTimes>& dealings, const Plan& plan) {
  for (const DealingTimes& dealing : dealings) {
    if (dealing.plan == plan_hash(plan)) return &dealing;
  }
  return nullptr;
}

void put_dealing(CostTable& table, const Program& program, const Plan& plan,
                 const DealingTimes& dealing, std::uint64_t bundles) {
  const RunCost cost = cost_of_run(program, plan, {});
  for (std::size_t entry = 0; entry < dealing.entry_seconds.size(); ++entry) {
    table.operations[cost.op_of_entry[entry]].dealing_seconds +=
        dealing.entry_seconds[entry] * static_cast<double>(bundles);
  }
  table.dealt = true;
  sum_up(table, program_layers(program));
}

std::string format_costs(const CostTable& table, bool full, std::uint64_t runs) {
  return Formatter(table, full, std::max<std::uint64_t>(runs, 1)).run();
}

std::vector<JsonTable> json_costs(const CostTable& table) {
  return {json_rows("layers", table, table.layers),
          json_rows("operations", table, table.operations)};
}

}  // namespace beaverpond
