#include "offline/pool/block.h"

#include <algorithm>

#include "beaverpond/check.h"
#include "offline/plan/hash.h"

namespace beaverpond {

void store_le(std::span<std::uint8_t> out, std::size_t offset, std::uint64_t value,
              std::size_t bytes) {
  BP_CHECK(offset + bytes <= out.size() && bytes <= 8, "a field outside its block");
  for (std::size_t i = 0; i < bytes; ++i) {
    out[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
  }
}

std::uint64_t load_le(std::span<const std::uint8_t> in, std::size_t offset, std::size_t bytes) {
  BP_CHECK(offset + bytes <= in.size() && bytes <= 8, "a field outside its block");
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value |= std::uint64_t{in[offset + i]} << (8 * i);
  return value;
}

void store_bytes(std::span<std::uint8_t> out, std::size_t offset,
                 std::span<const std::uint8_t> bytes) {
  BP_CHECK(offset + bytes.size() <= out.size(), "a field outside its block");
  std::copy(bytes.begin(), bytes.end(), out.begin() + static_cast<std::ptrdiff_t>(offset));
}

void load_bytes(std::span<const std::uint8_t> in, std::size_t offset,
                std::span<std::uint8_t> bytes) {
  BP_CHECK(offset + bytes.size() <= in.size(), "a field outside its block");
  std::copy_n(in.begin() + static_cast<std::ptrdiff_t>(offset), bytes.size(), bytes.begin());
}

void seal_block(Block& block) {
  store_bytes(block, kBlockHashOffset, sha256(std::span(block).first(kBlockHashOffset)));
}

bool is_sealed(const Block& block) {
  const Hash256 hash = sha256(std::span(block).first(kBlockHashOffset));
  return std::equal(hash.begin(), hash.end(), block.begin() + kBlockHashOffset);
}

}  // namespace beaverpond
