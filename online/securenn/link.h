// Messages between SecureNN's three players, a round at a time.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "online/protocol/engine.h"
#include "online/transport/transport.h"

namespace beaverpond::securenn {

inline constexpr int kPlayers = 3;
inline constexpr int kAssistant = 2;

/// Every message carries its place in the order of its sender's messages to its receiver, so that
/// players that drift apart are an error, never data; rounds differ, as P2 takes no part in some.
/// Tags begin anew with every bundle, so that bundles' numbers must rise. What is sent or received
/// stays alive, and as it is, until finish(). Memory is the backend's, but where a function says
/// host memory; what lies on a device travels through the host, and encrypted like all else, except
/// for open().
class Link {
 public:
  Link(Transport& transport, Backend& backend, const EngineOptions& options)
      : transport_(transport), backend_(backend), options_(options) {}

  int rank() const { return transport_.rank(); }
  /// P0 to P1 and back.
  int peer() const { return 1 - rank(); }

  void begin_bundle(std::uint64_t number) {
    bundle_ = number;
    sent_ = received_ = {};
  }
  void send(int to, std::span<const std::uint8_t> bytes) { add(to, bytes, Way::kPrivate); }
  void receive(int from, std::span<std::uint8_t> bytes) { add(from, bytes, Way::kPrivate); }
  void send(int to, ConstWords words) { send(to, bytes_of(words)); }
  void receive(int from, Words words) { receive(from, bytes_of(words)); }
  /// Between P0 and P1, who send each other shares of words that P2 may see: their sum is masked by
  /// what P2 does not know. Where the transport takes a device's memory, they go from there, as the
  /// additive protocol's openings do (online/transport/README.md, Trust).
  void open(ConstWords mine, Words theirs) {
    add(peer(), bytes_of(mine), Way::kOpening);
    add(peer(), bytes_of(theirs), Way::kOpening);
  }
  void send_host(int to, ConstWords words) { add(to, bytes_of(words), Way::kHost); }
  void receive_host(int from, Words words) { add(from, bytes_of(words), Way::kHost); }

  /// Waits for the backend, then for all messages of this round. Errors: those of the backend and
  /// the transport.
  Result<void> finish();

  std::uint64_t rounds() const { return rounds_; }
  double seconds() const { return seconds_; }
  std::uint64_t header_bytes() const { return header_bytes_; }
  /// Without headers.
  std::uint64_t sent_bytes() const { return sent_bytes_; }

 private:
  enum class Way : std::uint8_t { kPrivate, kOpening, kHost };
  struct Message {
    int player = 0;
    std::span<const std::uint8_t> sent;
    std::span<std::uint8_t> received;  ///< one of both is empty
    bool staged = false;
  };

  void add(int to, std::span<const std::uint8_t> bytes, Way way) {
    if (bytes.empty()) return;
    sent_bytes_ += bytes.size();
    round_.push_back({to, bytes, {}, staged(way)});
  }
  void add(int from, std::span<std::uint8_t> bytes, Way way) {
    if (!bytes.empty()) round_.push_back({from, {}, bytes, staged(way)});
  }
  bool staged(Way way) const {
    if (way == Way::kHost || backend_.memory() == MemoryKind::kHost) return false;
    return way == Way::kPrivate || transport_.memory() == MemoryKind::kHost;
  }
  Result<void> exchange();
  Result<void> stage();
  void start(const Message& message, std::uint8_t* host);
  Tag tag(std::uint32_t operation) const {
    return {options_.session, bundle_, options_.lane, operation};
  }

  Transport& transport_;
  Backend& backend_;
  EngineOptions options_;
  std::vector<Message> round_;
  std::vector<Operation> pending_;
  Buffer host_sent_;      ///< what is staged, on its way out
  Buffer host_received_;  ///< and in
  std::uint64_t bundle_ = 0;
  std::array<std::uint32_t, kPlayers> sent_{};
  std::array<std::uint32_t, kPlayers> received_{};
  std::uint64_t rounds_ = 0;
  std::uint64_t header_bytes_ = 0;
  std::uint64_t sent_bytes_ = 0;
  double seconds_ = 0;  ///< spent waiting
};

}  // namespace beaverpond::securenn
