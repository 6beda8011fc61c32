// SHA-256, for naming plans, rosters and segments.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace beaverpond {

using Hash256 = std::array<std::uint8_t, 32>;

Hash256 sha256(std::span<const std::uint8_t> bytes);

/// Lower-case hexadecimal, 64 characters.
std::string to_hex(std::span<const std::uint8_t> bytes);

}  // namespace beaverpond
