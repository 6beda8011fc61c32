#include "kernels/cpu/lookup.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels/cpu/prg.h"
#include "kernels/math/inline.h"

namespace beaverpond::cpu {
namespace {

// Dealt tables are expanded this many words at a time: in L1, and a multiple of 64 bytes.
constexpr std::uint64_t kChunkWords = 4096;

/// out[v] = table[v - r mod size], without an address or a branch that depends on r: one pass a
/// bit. `spare` holds size words. size <= kChunkWords, a power of two.
void rotate(ConstWords table, std::uint64_t r, std::uint64_t* out, std::uint64_t* spare) {
  const std::uint64_t size = table.size();
  std::memcpy(out, table.data(), size * 8);
  for (std::uint64_t step = 1; step < size; step <<= 1) {
    std::uint64_t moved = 0 - std::uint64_t{(r & step) != 0};
    BP_MATH_OPAQUE(moved);
    std::memcpy(spare, out, size * 8);
    for (std::uint64_t v = 0; v < size; ++v) {
      out[v] = (spare[(v - step) & (size - 1)] & moved) | (spare[v] & ~moved);
    }
  }
}

}  // namespace

void lookup_open(const Material& material, int bits, ConstWords x, Words out) {
  const std::uint64_t low = (std::uint64_t{1} << bits) - 1;
  std::copy(x.begin(), x.end(), out.begin());
  Prg(*material.seed, material.prg).add(material.mask_stream, 0, out);
  // The index and its mask are numbers mod 2^bits: what lies above does not leave the player.
  for (std::uint64_t& word : out) word &= low;
}

void lookup_finish(const Material& material, int bits, ConstWords opened, Words out) {
  const std::uint64_t size = std::uint64_t{1} << bits;
  if (material.correction != nullptr) {
    const auto* tables = reinterpret_cast<const std::uint64_t*>(material.correction);
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = tables[i * size + (opened[i] & (size - 1))];
    return;
  }
  const Prg prg(*material.seed, material.prg);
  alignas(64) std::uint64_t chunk[kChunkWords];
  const std::uint64_t per_chunk = kChunkWords / size;
  for (std::uint64_t first = 0; first < out.size(); first += per_chunk) {
    const std::uint64_t count = std::min<std::uint64_t>(per_chunk, out.size() - first);
    prg.fill(material.correction_stream, first * size * 8,
             {reinterpret_cast<std::uint8_t*>(chunk), count * size * 8});
    for (std::uint64_t i = 0; i < count; ++i) {
      out[first + i] = chunk[i * size + (opened[first + i] & (size - 1))];
    }
  }
  explicit_bzero(chunk, sizeof chunk);
}

void deal_lookup(const Backend::DealLookup& deal) {
  const std::uint64_t size = deal.table.size();
  BP_CHECK(std::has_single_bit(size) && size <= kChunkWords, "a table of 2^1 .. 2^12 words");
  BP_CHECK(deal.correction.size() == deal.count * size, "a table for every element");
  std::vector<std::unique_ptr<Prg>> prgs;
  for (const Seed& seed : deal.seeds) prgs.push_back(std::make_unique<Prg>(seed, deal.prg));
  const std::uint64_t per_chunk = kChunkWords / size;
  alignas(64) std::uint64_t masks[kChunkWords + 8];
  alignas(64) std::uint64_t spare[kChunkWords];
  for (std::uint64_t first = 0; first < deal.count; first += per_chunk) {
    const std::uint64_t count = std::min<std::uint64_t>(per_chunk, deal.count - first);
    // Masks lie a word an element, so a chunk's need not start at a multiple of 64 bytes.
    const std::uint64_t skip = first % 8;
    std::memset(masks, 0, sizeof masks);
    for (const auto& prg : prgs) {
      prg->add(deal.mask_stream, (first - skip) * 8, {masks, skip + count});
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      std::uint64_t* dealt = deal.correction.data() + (first + i) * size;
      rotate(deal.table, masks[skip + i] & (size - 1), dealt, spare);
    }
    const Words dealt = deal.correction.subspan(first * size, count * size);
    for (std::size_t player = 0; player < prgs.size(); ++player) {
      if (static_cast<int>(player) == deal.designated) continue;
      prgs[player]->subtract(deal.correction_stream, first * size * 8, dealt);
    }
  }
  explicit_bzero(masks, sizeof masks);
  explicit_bzero(spare, sizeof spare);  // a table rotated by most of a mask
}

}  // namespace beaverpond::cpu
