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
/// stays alive until finish().
class Link {
 public:
  Link(Transport& transport, const EngineOptions& options)
      : transport_(transport), options_(options) {}

  int rank() const { return transport_.rank(); }
  /// P0 to P1 and back.
  int peer() const { return 1 - rank(); }

  void begin_bundle(std::uint64_t number) {
    bundle_ = number;
    sent_ = received_ = {};
  }
  void send(int to, std::span<const std::uint8_t> bytes);
  void receive(int from, std::span<std::uint8_t> bytes);
  void send(int to, ConstWords words) { send(to, bytes_of(words)); }
  void receive(int from, Words words) { receive(from, bytes_of(words)); }
  /// Waits for all messages of this round. Errors: those of the transport.
  Result<void> finish();

  std::uint64_t rounds() const { return rounds_; }
  double seconds() const { return seconds_; }
  std::uint64_t header_bytes() const { return header_bytes_; }
  /// Without headers.
  std::uint64_t sent_bytes() const { return sent_bytes_; }

 private:
  Tag tag(std::uint32_t operation) const {
    return {options_.session, bundle_, options_.lane, operation};
  }

  Transport& transport_;
  EngineOptions options_;
  std::vector<Operation> pending_;
  std::uint64_t bundle_ = 0;
  std::array<std::uint32_t, kPlayers> sent_{};
  std::array<std::uint32_t, kPlayers> received_{};
  std::uint64_t rounds_ = 0;
  std::uint64_t header_bytes_ = 0;
  std::uint64_t sent_bytes_ = 0;
  double seconds_ = 0;  ///< spent waiting
};

}  // namespace beaverpond::securenn
