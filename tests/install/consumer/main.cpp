// Prints the product of two players' numbers, 6 and 7, and writes the plan for a private run.
#include <beaverpond/run.h>

#include <cstdio>

int main(int, char** argv) {
  beaverpond::Recorder recorder({.players = 2});
  const auto x = recorder.input({.name = "x", .owner = 0, .may_learn = {0}});
  const auto y = recorder.input({.name = "y", .owner = 1, .may_learn = {0}});
  beaverpond::reveal(x * y, {0}, "z");
  const auto program = recorder.finish();
  if (!program.ok() || !beaverpond::save_plan(*program, argv[1]).ok()) return 1;
  const auto learned = beaverpond::run_in_plaintext(*program, {{"x", {6}}, {"y", {7}}});
  // A player's own run needs a home; without one it says so.
  const auto refused = beaverpond::run_player_blocking(*program, {{"x", {6}}}, {.home = "nowhere"});
  std::printf("%g, %s\n", learned->at("z")[0], to_string(refused.error().code));
}
