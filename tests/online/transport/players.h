// Players for tests: identities in a temporary folder, and TLS options that bind port 0.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "online/session/identity.h"
#include "online/transport/local.h"
#include "online/transport/tls.h"
#include "online/transport/transport.h"

namespace beaverpond::testing {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = std::filesystem::temp_directory_path() / "beaverpond-XXXXXX";
    BP_CHECK(::mkdtemp(name.data()) != nullptr, "no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;             // removes the folder
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;  // removes the folder

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline Deadline in_ms(int ms) {
  return std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
}

inline double seconds_since(Deadline start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Homes, a roster, and a listening socket for each player.
class TlsPlayers {
 public:
  explicit TlsPlayers(int players) {
    Result<Roster> made = keygen_all(folder_.path(), players, 0);
    BP_CHECK(made.ok(), "keygen");
    roster = *std::move(made);
    for (RosterPlayer& player : roster.players) {
      Result<Listener> listener = listen_on("127.0.0.1", 0);
      BP_CHECK(listener.ok(), "listen");
      player.port = listener->port;
      descriptors_.push_back(listener->descriptor);
    }
  }
  ~TlsPlayers() {
    for (const int descriptor : descriptors_) {
      if (descriptor >= 0) ::close(descriptor);
    }
  }
  TlsPlayers(const TlsPlayers&) = delete;             // owns descriptors
  TlsPlayers& operator=(const TlsPlayers&) = delete;  // owns descriptors

  int size() const { return static_cast<int>(roster.players.size()); }
  std::string home(int rank) const { return folder_.path() + "/player" + std::to_string(rank); }

  /// Hands over the player's descriptor: to be connected once.
  TlsOptions options(int rank) {
    TlsOptions options;
    options.rank = rank;
    for (const RosterPlayer& player : roster.players) {
      options.players.push_back({player.name, player.host, player.port, player.certificate});
    }
    options.roster_hash = roster_hash(roster);
    options.key_path = home(rank) + "/key.pem";
    options.certificate_path = home(rank) + "/cert.pem";
    options.listen_descriptor = std::exchange(descriptors_[static_cast<std::size_t>(rank)], -1);
    options.connect_timeout = std::chrono::milliseconds(20'000);
    return options;
  }

  Roster roster;

 private:
  TemporaryFolder folder_;
  std::vector<int> descriptors_;
};

/// Runs `body(rank)` on a thread for each player.
template <class Body>
void run_players(int players, Body body) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < players; ++rank) threads.emplace_back([&, rank] { body(rank); });
  for (std::thread& thread : threads) thread.join();
}

/// Connects all at once; the results by rank.
inline std::vector<Result<TlsConnected>> connect_each(std::vector<TlsOptions> options) {
  std::vector<std::optional<Result<TlsConnected>>> made(options.size());
  run_players(static_cast<int>(options.size()), [&](int rank) {
    const auto i = static_cast<std::size_t>(rank);
    Result<TlsConnected> connected = connect_tls_blocking(options[i]);
    made[i].emplace(std::move(connected));
  });
  std::vector<Result<TlsConnected>> results;
  for (auto& result : made) results.push_back(*std::move(result));
  return results;
}

inline std::vector<std::unique_ptr<Transport>> make_tls_transports(int players) {
  TlsPlayers setup(players);
  std::vector<TlsOptions> options;
  for (int rank = 0; rank < players; ++rank) options.push_back(setup.options(rank));
  std::vector<std::unique_ptr<Transport>> transports;
  for (Result<TlsConnected>& connected : connect_each(std::move(options))) {
    BP_CHECK(connected.ok(), connected.ok() ? "" : connected.error().message.c_str());
    transports.push_back(std::move(connected->transport));
  }
  return transports;
}

}  // namespace beaverpond::testing
