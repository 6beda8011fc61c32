// A TCP proxy between real players: what passes, it delays, alters, swaps, loses, or cuts off.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace beaverpond::testing {

enum class WireFault : std::uint8_t {
  kStall,    ///< nothing passes for `ms`
  kCorrupt,  ///< a bit of the next bytes is another
  kLose,     ///< the next bytes never come
  kSwap,     ///< the next bytes come in another order
  kReset,    ///< the connections end
};
inline constexpr int kWireFaults = 5;

/// All connections among players of one host. Player i dials player j < i at port(i, j). One
/// thread, which ends with the object.
class ChaosProxy {
 public:
  /// `ports`: where each player listens.
  explicit ChaosProxy(std::vector<std::uint16_t> ports);
  ~ChaosProxy();
  ChaosProxy(const ChaosProxy&) = delete;             // its thread has its address
  ChaosProxy& operator=(const ChaosProxy&) = delete;  // its thread has its address

  /// --peers of a player.
  std::string peers_of(int player) const;
  /// Bytes that passed so far.
  std::uint64_t bytes() const { return bytes_; }

  /// To connections between the two players; other < 0: between player and all others.
  void strike(WireFault fault, int player, int other, std::chrono::milliseconds time);

 private:
  using Clock = std::chrono::steady_clock;
  struct Pair {
    int dialler = 0;
    int listener = 0;
    int descriptor = -1;  // listens for the dialler
    std::uint16_t port = 0;
    Clock::time_point stalled_until{};
    int alter = 0;  // how many faults of the kind wait for bytes
    WireFault kind = WireFault::kCorrupt;
    bool reset = false;
  };
  struct Wire {
    std::size_t pair = 0;
    int ends[2] = {-1, -1};
    std::vector<std::uint8_t> out[2];  // to be written to that end
    bool over[2] = {false, false};     // no more comes from that end
  };
  void run();
  void accept(std::size_t pair);
  void read_from(Wire& wire, int side);
  void write_to(Wire& wire, int side);
  bool finished(const Wire& wire) const;
  static void close(Wire& wire, bool reset);

  const std::vector<std::uint16_t> ports_;
  std::mutex mutex_;  // guards pairs_
  std::vector<Pair> pairs_;
  std::list<Wire> wires_;
  std::atomic<std::uint64_t> bytes_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace beaverpond::testing
