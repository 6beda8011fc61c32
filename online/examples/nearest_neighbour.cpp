// Which point of player 0's database is nearest to player 1's? Player 1 learns its index, and
// nobody learns anything else: no point, no distance, and player 0 no query. Further players help.
//
// nearest_neighbour --points 100 --dimensions 2 (--plan-out FILE | --plaintext --data DATABASE
//   --data QUERY | --home DIR [--data FILE]); a line of a file is a point.
#include <cstdio>

#include "online/examples/example.h"

namespace {

using namespace beaverpond;
using examples::Flags;

Result<RecordedProgram> record(const Flags& flags) {
  BP_ASSIGN(const std::uint32_t players, flags.count("players"));
  BP_ASSIGN(const std::uint32_t points, flags.count("points"));
  BP_ASSIGN(const std::uint32_t dimensions, flags.count("dimensions"));
  const Players asker = {1};

  Recorder recorder({.players = players});
  const Secret database = recorder.input({"database", 0, {points, dimensions}, asker});
  const Secret query = recorder.input({"query", 1, {dimensions}, asker});
  const Secret distances = sum_rows(transpose(square(database - query)));
  reveal(argmin(distances), asker, "index");
  return recorder.finish();
}

void show(const Flags&, const NamedValues& learned) {
  if (learned.count("index") != 0) std::printf("%.0f\n", learned.at("index")[0]);
}

}  // namespace

int main(int argc, char** argv) {
  return examples::run_example(argc, argv,
                               {"the nearest point of another player's database",
                                {{"players", "3"}, {"points", "10"}, {"dimensions", "2"}},
                                record,
                                show});
}
