// `beaverpond train` for tests: the same command, with a transport that records what is sent.
// recording_player JOB --record FILE [--home DIR --listen-fd N --peers A,B --weights-out FILE
//   --resume yes --checkpoint-every STEPS --rejoin SECONDS --reconnect SECONDS]
#include <cstdio>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include "online/cli/commands.h"
#include "tests/online/transport/recording_transport.h"

int main(int argc, char** argv) {
  using namespace beaverpond;
  if (argc < 4 || argc % 2 != 0) {
    std::fprintf(stderr, "usage: recording_player JOB --record FILE --home DIR ...\n");
    return static_cast<int>(ErrorCode::kConfig);
  }
  std::map<std::string, std::string> flags;
  for (int i = 2; i + 1 < argc; i += 2) flags[argv[i]] = argv[i + 1];
  testing::SentLog log(flags["--record"]);
  TrainCommand train;
  train.job = argv[1];
  train.json = true;
  train.weights_out = flags["--weights-out"];
  train.player.home = flags["--home"];
  if (flags.count("--listen-fd") != 0) {
    train.player.listen_descriptor = std::stoi(flags["--listen-fd"]);
  }
  train.resume = flags.count("--resume") != 0;
  if (flags.count("--checkpoint-every") != 0) {
    train.checkpoint_every = std::stoull(flags["--checkpoint-every"]);
  }
  if (flags.count("--rejoin") != 0) train.rejoin_seconds = std::stoull(flags["--rejoin"]);
  if (flags.count("--reconnect") != 0) {
    train.player.reconnect_seconds = static_cast<std::uint32_t>(std::stoul(flags["--reconnect"]));
  }
  std::istringstream peers(flags["--peers"]);
  for (std::string peer; std::getline(peers, peer, ',');) train.player.peers.push_back(peer);
  train.player.decorate = [&log](std::unique_ptr<Transport> inner) -> std::unique_ptr<Transport> {
    return std::make_unique<testing::RecordingTransport>(std::move(inner), log);
  };
  const Result<void> result = run_train(train);
  if (result.ok()) return 0;
  std::fprintf(stderr, "beaverpond: %s\n", describe(result.error()).c_str());
  return static_cast<int>(result.error().code);
}
