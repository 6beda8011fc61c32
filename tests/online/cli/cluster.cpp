#include "tests/online/cli/cluster.h"

#include <unistd.h>

#include <filesystem>

#include "beaverpond/check.h"
#include "online/session/identity.h"
#include "online/transport/tls.h"

namespace beaverpond::testing {

std::string JobText::str() const {
  std::string text = "[job]\nname = \"small\"\nseed = " + std::to_string(seed) +
                     "\nplayers = " + std::to_string(players) + "\nprotocol = \"" + protocol +
                     "\"\n[model]\ninput = [28, 28, 1]\n" + layers +
                     "[training]\nbatch = " + std::to_string(2 * players) +
                     "\nsteps = " + std::to_string(steps) + "\nmultiplier = 256\n" + training;
  const std::string labels = std::string(kDataFolder) + "/t10k-labels-idx1-ubyte.gz";
  for (int player = 0; player < players; ++player) {
    text += "[[data.owner]]\nplayer = " + std::to_string(player) + "\ntrain_images = \"" + images +
            "\"\ntrain_labels = \"" + labels + "\"\nrows = [" + std::to_string(1000 * player) +
            ", " + std::to_string(1000 * player + 1000) + "]\n";
  }
  return text + "[reveal]\n" + reveal + "\n[pool]\n" + pool + "\nprofile = \"" + profile +
         "\"\n[network]\n" + network + "\n" + extra;
}

Cluster::Cluster(int players) : players_(players) {
  std::string name = std::filesystem::temp_directory_path() / "beaverpond-cli-XXXXXX";
  BP_CHECK(::mkdtemp(name.data()) != nullptr, "a test can make a folder");
  folder_ = name;
  const Result<Roster> roster = keygen_all(folder_, players, 0);
  BP_CHECK(roster.ok(), "keygen works");
}

Cluster::~Cluster() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string Cluster::write_job(const std::string& name, const JobText& text) const {
  const std::string file = path(name);
  write_text(file, text.str());
  return file;
}

Outcome Cluster::beaverpond(const std::vector<std::string>& arguments,
                            std::chrono::milliseconds limit) const {
  std::vector<std::string> all = {BEAVERPOND_PROGRAM};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return run_program(all, folder_, limit);
}

std::vector<std::string> Cluster::factory_arguments(const std::string& command,
                                                    const std::string& plan) const {
  std::vector<std::string> arguments = {TRIPLE_FACTORY, command,     "--plan",
                                        plan,           "--roster",  home(0) + "/roster.toml",
                                        "--json",       "--threads", "2"};
  for (int player = 0; player < players_; ++player) {
    arguments.insert(arguments.end(), {"--pool", home(player) + "/pool"});
  }
  return arguments;
}

Outcome Cluster::make_bundles(const std::string& plan, int bundles, int segment_bundles) const {
  std::vector<std::string> arguments = factory_arguments("make", plan);
  arguments.insert(arguments.end(), {"--bundles", std::to_string(bundles), "--segment-bundles",
                                     std::to_string(segment_bundles)});
  return run_program(arguments, folder_, std::chrono::seconds(60));
}

Process Cluster::start_factory(const std::string& plan, int low, int high,
                               int segment_bundles) const {
  ProcessOptions options;
  options.arguments = factory_arguments("serve", plan);
  options.arguments.insert(options.arguments.end(),
                           {"--low", std::to_string(low), "--high", std::to_string(high),
                            "--segment-bundles", std::to_string(segment_bundles)});
  options.out = path("factory.out");
  options.err = path("factory.err");
  return Process::start(options);
}

Cluster::Listeners Cluster::listen() const {
  Listeners listeners;
  for (int player = 0; player < players_; ++player) {
    const Result<Listener> listener = listen_on("127.0.0.1", 0);
    BP_CHECK(listener.ok(), "a test can listen");
    listeners.descriptors.push_back(listener->descriptor);
    listeners.ports.push_back(listener->port);
    if (player > 0) listeners.peers += ',';
    listeners.peers.append("127.0.0.1:").append(std::to_string(listener->port));
  }
  return listeners;
}

void Cluster::close(const Listeners& listeners) {
  for (const int descriptor : listeners.descriptors) ::close(descriptor);
}

Process Cluster::start_player(const std::string& name, int player,
                              std::vector<std::string> arguments,
                              const Listeners& listeners) const {
  arguments.insert(arguments.end(),
                   {"--home", home(player), "--listen-fd", "3", "--peers", listeners.peers});
  ProcessOptions options;
  options.arguments = std::move(arguments);
  options.out = out_path(name, player);
  options.err = err_path(name, player);
  options.descriptor = listeners.descriptors[static_cast<std::size_t>(player)];
  return Process::start(options);
}

}  // namespace beaverpond::testing
