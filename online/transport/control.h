// Payloads of the control frames. Tables in README.md.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

/// Drawn anew by every transport: that of a process that was started again is another.
using Incarnation = std::array<std::uint8_t, 16>;

/// Who is there, and what both ends must have in common.
struct LinkHello {
  std::uint32_t rank = 0;
  std::array<std::uint8_t, 32> roster_hash{};
  Incarnation incarnation{};    ///< the sender's
  Incarnation goes_on_with{};   ///< the receiver's, of the connection that broke; else zeros
  std::uint64_t received = 0;   ///< then: the number of the first frame that has not come whole
  std::uint32_t reconnect = 0;  ///< ms that the sender would wait for a connection that broke
  std::vector<std::uint8_t> application;

  bool goes_on() const { return goes_on_with != Incarnation{}; }
};
inline constexpr std::size_t kHelloBytes = 4 + 32 + 16 + 16 + 8 + 4;  // and the application's bytes

/// Why a hello was refused.
struct Refusal {
  ErrorCode code = ErrorCode::kRosterMismatch;
  std::string reason;
};
inline constexpr std::size_t kRefusalBytes = 4;  // and the text

/// A player whom the sender has lost.
struct LostReport {
  std::uint32_t player = 0;
  std::string reason;
};
inline constexpr std::size_t kLostReportBytes = 4;  // and the text

std::vector<std::uint8_t> encode(const LinkHello& hello);
std::vector<std::uint8_t> encode(const Refusal& refusal);
std::vector<std::uint8_t> encode(const LostReport& report);
std::vector<std::uint8_t> encode_received(std::uint64_t frames);

// Errors: kProtocolMismatch for a payload that is too short or names an unknown code or player.
Result<LinkHello> decode_link_hello(std::span<const std::uint8_t> bytes);
Result<Refusal> decode_refusal(std::span<const std::uint8_t> bytes);
Result<LostReport> decode_lost_report(std::span<const std::uint8_t> bytes, int players);
Result<std::uint64_t> decode_received(std::span<const std::uint8_t> bytes);

/// The text at the end of a payload, made fit to print: a peer's bytes reach terminals and logs.
std::string printable(std::span<const std::uint8_t> bytes);

}  // namespace beaverpond
