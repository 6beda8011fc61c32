// A Plan fixes every byte of a bundle: which PRG stream each mask comes from, and where each
// correction lies. Pure data with a canonical encoding; its hash names the class in the pool.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/program.h"
#include "beaverpond/protocol.h"
#include "beaverpond/result.h"
#include "beaverpond/seed.h"
#include "beaverpond/units.h"
#include "offline/plan/hash.h"

namespace beaverpond {

enum class EntryKind : std::uint16_t {
  kMask = 1,    ///< `count` uniform words; no correction
  kMatMul = 2,  ///< C = op(A) op(B) over two mask entries
  kConv2d = 3,  ///< C = conv(A, B)
  kConv2dGradWeight = 4,
  kConv2dGradInput = 5,
  kMultiply = 6,  ///< C = A * B, element by element
  kTruncate = 7,  ///< comparison material, see include/beaverpond/compare_layout.h
  kReluTruncate = 8,
  kTruncateTimesBit = 9,  ///< uses the bit mask of entry `forward`
  kRelu = 10,
  kMultiplyBit = 11,  ///< uses the bit mask of entry `forward`
  kLookup = 12,       ///< per element a table, rotated by its mask
  // Of SecureNN alone (kernels/securenn/material.h):
  kScalarTriple = 13,  ///< masks of two factors of its own, and their product, element by element
  kConvertedSign = 14,  ///< a word of the odd ring, its bits as digits, its lowest bit
  kOpenedSign = 15,     ///< a word that the assistant knows, and its lower 63 bits as digits
};

const char* to_string(EntryKind kind);

struct PlanEntry {
  EntryKind kind = EntryKind::kMask;
  std::uint32_t source = 0;  ///< kMask: the value masked; otherwise the operation's index
  std::uint64_t count = 0;   ///< elements of the mask, or of the result
  std::uint32_t shift = 0;
  std::uint32_t mask_x = 0;   ///< products: entry of the first factor's mask
  std::uint32_t mask_y = 0;   ///< products: entry of the second factor's mask
  std::uint32_t forward = 0;  ///< entry whose bit mask is used
  std::uint32_t m = 0;        ///< kMatMul: result is m x n, inner size k
  std::uint32_t n = 0;
  std::uint32_t k = 0;
  bool transpose_x = false;
  bool transpose_y = false;
  /// Made once for all members of a series; the other entries once a member.
  bool head = false;
  std::uint32_t table = 0;  ///< kLookup: index into Plan::tables
  Conv2dShape conv;

  // Derived by the layout, not encoded.
  std::uint64_t correction_offset_bytes = 0;  ///< of member 0, 64-byte aligned
  std::uint64_t correction_size_bytes = 0;    ///< of one member
};

struct Plan {
  PrgKind prg = PrgKind::kAes128Ctr;
  Protocol protocol = Protocol::kAdditive;
  std::uint32_t members = 1;  ///< runs of one bundle
  std::vector<PlanEntry> entries;
  std::vector<std::vector<std::uint64_t>> tables;  ///< of lookups; sizes are powers of two
  ByteCount correction_size;                       ///< of a bundle, all members
  std::uint64_t member_size_bytes = 0;             ///< of one member's corrections

  /// Stream of entry `index` that holds what is never corrected: its masks. Entries of the head
  /// take member 0's streams, whatever the member.
  std::uint64_t mask_stream(std::uint32_t index, std::uint32_t member = 0) const {
    const std::uint64_t run = entries[index].head ? 0 : member;
    return (run * entries.size() + index) * 2;
  }
  /// Stream that stands in for the correction on every player but the designated one.
  std::uint64_t correction_stream(std::uint32_t index, std::uint32_t member = 0) const {
    return mask_stream(index, member) + 1;
  }
  /// Where an entry's correction of one member lies in the bundle's.
  std::uint64_t correction_offset(std::uint32_t index, std::uint32_t member = 0) const {
    const PlanEntry& entry = entries[index];
    return entry.correction_offset_bytes + (entry.head ? 0 : member * member_size_bytes);
  }
};

/// By value: whether it is the same in all members of a series, since it depends on fixed inputs
/// and states alone.
std::vector<bool> fixed_values(const Program& program);

/// Lays out the correlated randomness that one run of `program` spends. Errors: kConfig.
Result<Plan> make_plan(const Program& program, PrgKind prg,
                       Protocol protocol = Protocol::kAdditive);

/// Canonical little-endian encoding (offline/plan/README.md). decode_plan accepts exactly what
/// encode_plan writes and checks every field. Errors: kConfig.
std::vector<std::uint8_t> encode_plan(const Plan& plan);
Result<Plan> decode_plan(std::span<const std::uint8_t> bytes);
Hash256 plan_hash(const Plan& plan);

/// Errors: kIo, kConfig, kNoSpace; the message names the file.
Result<void> write_plan_file(const Plan& plan, const std::string& path);
Result<Plan> read_plan_file(const std::string& path);

}  // namespace beaverpond
