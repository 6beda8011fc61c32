// A TCP relay on the loopback interface: what passes comes late, as between hosts that are far
// apart, and its user may hold it up, alter it or cut it off.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

struct RelayOptions {
  /// Each direction: bytes that come in at t go out at t + delay, however many they are. So half of
  /// a round trip, and a bandwidth without limit. Establishing a connection is not delayed.
  std::chrono::nanoseconds delay{0};
  /// Waits in one direction; no more is taken in meanwhile.
  std::size_t most_bytes = std::size_t{256} << 20;

  // Called on the relay's thread, with the number of a route. Unset: all passes.
  std::function<bool(std::size_t route)> hold;   ///< nothing passes now
  std::function<bool(std::size_t route)> reset;  ///< its connections end now
  /// May alter what came; false: it is lost.
  std::function<bool(std::size_t route, std::span<std::uint8_t> bytes)> alter;
};

/// Connections to ports of this host. One thread, from start() to the end of the object.
class Relay {
 public:
  /// Listens on a port of its own for each target: a route. Errors: kIo.
  static Result<std::unique_ptr<Relay>> listen(std::span<const std::uint16_t> targets,
                                               RelayOptions options);
  ~Relay();
  Relay(const Relay&) = delete;             // its thread has its address
  Relay& operator=(const Relay&) = delete;  // its thread has its address

  /// Until then connections wait; so a caller may fork in between.
  void start();

  /// Dialling this port reaches targets[route].
  std::uint16_t port(std::size_t route) const { return routes_[route].port; }
  /// Bytes that came in so far, of all connections.
  std::uint64_t bytes() const { return bytes_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Route {
    int descriptor = -1;
    std::uint16_t port = 0;
    std::uint16_t target = 0;
  };
  struct Chunk {
    std::vector<std::uint8_t> bytes;
    Clock::time_point due;
  };
  /// What goes to one end of a connection.
  struct Way {
    std::deque<Chunk> chunks;
    std::size_t written = 0;  // of the first chunk
    std::size_t waiting = 0;  // bytes of all chunks that are not written
    bool over = false;        // no more comes in
  };
  struct Wire {
    std::size_t route = 0;
    int ends[2] = {-1, -1};
    Way to[2];
  };

  explicit Relay(RelayOptions options) : options_(std::move(options)) {}
  void run();
  void accept(std::size_t route);
  void read_from(Wire& wire, int side);
  void write_to(Wire& wire, int side, Clock::time_point now);
  void clear_away();
  static bool finished(const Wire& wire);
  static void close(Wire& wire, bool reset);

  const RelayOptions options_;
  std::vector<Route> routes_;
  std::list<Wire> wires_;           // the thread's
  std::vector<std::uint8_t> room_;  // for one read
  std::atomic<std::uint64_t> bytes_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace beaverpond
