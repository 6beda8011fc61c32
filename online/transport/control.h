// Payloads of the control frames. Tables in README.md.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

/// Who is there, and what both ends must have in common.
struct LinkHello {
  std::uint32_t rank = 0;
  std::array<std::uint8_t, 32> roster_hash{};
  std::vector<std::uint8_t> application;
};
inline constexpr std::size_t kHelloBytes = 4 + 32;  // and the application's bytes

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

// Errors: kProtocolMismatch for a payload that is too short or names an unknown code or player.
Result<LinkHello> decode_link_hello(std::span<const std::uint8_t> bytes);
Result<Refusal> decode_refusal(std::span<const std::uint8_t> bytes);
Result<LostReport> decode_lost_report(std::span<const std::uint8_t> bytes, int players);

/// The text at the end of a payload, made fit to print: a peer's bytes reach terminals and logs.
std::string printable(std::span<const std::uint8_t> bytes);

}  // namespace beaverpond
