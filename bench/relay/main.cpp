// Lets a job of one host run as among hosts that are far apart (bench/README.md, "Far apart").
//
//   beaverpond-relay ROUND_TRIP_MS PORT..
//
// Prints, for each port, one that leads to it; runs until it is told to stop.
#include <signal.h>

#include <cstdio>
#include <cstdlib>

#include "bench/relay/relay.h"

int main(int argc, char** argv) {
  char* end = nullptr;
  const double round_trip_ms = argc > 2 ? std::strtod(argv[1], &end) : -1;
  bool good = round_trip_ms >= 0 && round_trip_ms <= 1e6 && *end == '\0';
  std::vector<std::uint16_t> targets;
  for (int i = 2; i < argc; ++i) {
    const long port = std::strtol(argv[i], &end, 10);
    good = good && port >= 1 && port <= 65'535 && *end == '\0';
    targets.push_back(static_cast<std::uint16_t>(port));
  }
  if (!good) {
    std::fprintf(stderr, "usage: beaverpond-relay ROUND_TRIP_MS PORT..\n");
    return 2;
  }
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM}) sigaddset(&signals, number);
  sigprocmask(SIG_BLOCK, &signals, nullptr);  // for the relay's thread, too
  beaverpond::RelayOptions options;
  options.delay = std::chrono::nanoseconds(static_cast<std::int64_t>(round_trip_ms * 1e6 / 2));
  const auto relay = beaverpond::Relay::listen(targets, options);
  if (!relay.ok()) {
    std::fprintf(stderr, "beaverpond-relay: %s\n", relay.error().message.c_str());
    return 1;
  }
  for (std::size_t i = 0; i < targets.size(); ++i) {
    std::printf("%u\n", static_cast<unsigned>((*relay)->port(i)));
  }
  std::fflush(stdout);
  (*relay)->start();
  int number = 0;
  sigwait(&signals, &number);
  return 0;
}
