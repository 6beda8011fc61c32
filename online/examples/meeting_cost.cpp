// What does this meeting cost? Everybody's hourly pay goes in, the sum comes out, nothing else.
//
// meeting_cost --players 3 --hours 1.5 (--plan-out FILE | --plaintext --data FILE .. |
//   --home DIR --data FILE); a player's file holds its pay.
#include <cstdio>

#include "online/examples/example.h"

namespace {

using namespace beaverpond;
using examples::Flags;

Result<RecordedProgram> record(const Flags& flags) {
  BP_ASSIGN(const std::uint32_t players, flags.count("players"));
  BP_ASSIGN(const double hours, flags.number("hours"));
  const Players everybody = Players::all(players);

  Recorder recorder({.players = players});
  Secret total = recorder.input({"pay of player 0", 0, {1}, everybody});
  for (std::uint32_t player = 1; player < players; ++player) {
    total += recorder.input({"pay of player " + std::to_string(player), player, {1}, everybody});
  }
  reveal(total * hours, everybody, "cost");
  return recorder.finish();
}

void show(const Flags&, const NamedValues& learned) {
  std::printf("the meeting costs %.2f\n", learned.at("cost")[0]);
}

}  // namespace

int main(int argc, char** argv) {
  return examples::run_example(argc, argv,
                               {"the cost of a meeting, without anybody's pay",
                                {{"players", "3"}, {"hours", "1"}},
                                record,
                                show});
}
