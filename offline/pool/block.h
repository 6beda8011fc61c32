// A sealed block: 4 KiB of little-endian fields that carry their own SHA-256. The header of a
// segment, a slot of a ledger and the identity of a pool are such blocks.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace beaverpond {

inline constexpr std::size_t kBlockSize = 4096;
inline constexpr std::size_t kBlockHashOffset = kBlockSize - 32;

using Block = std::array<std::uint8_t, kBlockSize>;

/// Stores the low `bytes` bytes of `value` at `offset`.
void store_le(std::span<std::uint8_t> out, std::size_t offset, std::uint64_t value,
              std::size_t bytes);
std::uint64_t load_le(std::span<const std::uint8_t> in, std::size_t offset, std::size_t bytes);
void store_bytes(std::span<std::uint8_t> out, std::size_t offset,
                 std::span<const std::uint8_t> bytes);
void load_bytes(std::span<const std::uint8_t> in, std::size_t offset,
                std::span<std::uint8_t> bytes);

/// Writes the SHA-256 of all that precedes it into the block's last 32 bytes.
void seal_block(Block& block);
/// Whether the block carries the SHA-256 of what precedes it.
bool is_sealed(const Block& block);

}  // namespace beaverpond
