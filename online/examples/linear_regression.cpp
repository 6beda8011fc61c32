// Least squares over the rows of several owners; all learn the coefficients, nobody sees a row.
//
// linear_regression --rows 8,10,6 --features 2 (--plan-out FILE | --plaintext --data FILE .. |
//   --home DIR --data FILE); a line of a player's file is one row: features, then the target.
// Features should lie within about -1..1, for which the defaults of --steps and --rate converge.
#include <cstdio>
#include <numeric>

#include "online/examples/example.h"

namespace {

using namespace beaverpond;
using examples::Flags;

Result<RecordedProgram> record(const Flags& flags) {
  BP_ASSIGN(const std::vector<std::uint32_t> rows_of, flags.counts("rows"));
  BP_ASSIGN(const std::uint32_t features, flags.count("features"));
  BP_ASSIGN(const std::uint32_t steps, flags.count("steps"));
  BP_ASSIGN(const double rate, flags.number("rate"));
  const auto players = static_cast<std::uint32_t>(rows_of.size());
  const Players everybody = Players::all(players);

  Recorder recorder({.players = players, .fraction_bits = 20});
  std::vector<Secret> parts;
  for (std::uint32_t player = 0; player < players; ++player) {
    parts.push_back(recorder.input({"rows of player " + std::to_string(player),
                                    player,
                                    {rows_of[player], features + 1},
                                    everybody}));
  }
  const Secret table = transpose(concat(parts));  // features and the target, a row each
  const Secret target = rows(table, features, 1);
  const Secret x = concat({rows(table, 0, features), 0 * target + 1});  // the last is constant

  const double rows_in_all = std::accumulate(rows_of.begin(), rows_of.end(), 0.0);
  const Secret moments = matmul(x, transpose(x)) * (1 / rows_in_all);
  const Secret wanted = matmul(x, transpose(target)) * (1 / rows_in_all);
  Secret coefficients = 0 * wanted;
  for (std::uint32_t step = 0; step < steps; ++step) {
    recorder.set_section("step " + std::to_string(step));
    coefficients -= (matmul(moments, coefficients) - wanted) * rate;
  }
  reveal(coefficients, everybody, "coefficients");
  return recorder.finish();
}

void show(const Flags&, const NamedValues& learned) {
  for (const double coefficient : learned.at("coefficients")) std::printf("%.4f\n", coefficient);
}

}  // namespace

int main(int argc, char** argv) {
  return examples::run_example(
      argc, argv,
      {"least squares over the rows of several owners",
       {{"rows", "8,8,8"}, {"features", "2"}, {"steps", "120"}, {"rate", "0.5"}},
       record,
       show});
}
