// A Plan fixes every byte of a bundle: which PRG stream each mask comes from, and where each
// correction lies. Pure data with a canonical encoding; its hash names the class in the pool.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/program.h"
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
  Conv2dShape conv;

  // Derived by the layout, not encoded.
  std::uint64_t correction_offset_bytes = 0;  ///< within the bundle's correction, 64-byte aligned
  std::uint64_t correction_size_bytes = 0;
};

struct Plan {
  PrgKind prg = PrgKind::kAes128Ctr;
  std::vector<PlanEntry> entries;
  ByteCount correction_size;

  /// Stream of entry `index` that holds what is never corrected: its masks.
  static std::uint64_t mask_stream(std::uint32_t index) { return std::uint64_t{index} * 2; }
  /// Stream that stands in for the correction on every player but the designated one.
  static std::uint64_t correction_stream(std::uint32_t index) {
    return std::uint64_t{index} * 2 + 1;
  }
};

/// Lays out the correlated randomness that one run of `program` spends. Errors: kConfig.
Result<Plan> make_plan(const Program& program, PrgKind prg);

/// Canonical little-endian encoding (offline/plan/README.md). decode_plan accepts exactly what
/// encode_plan writes and checks every field. Errors: kConfig.
std::vector<std::uint8_t> encode_plan(const Plan& plan);
Result<Plan> decode_plan(std::span<const std::uint8_t> bytes);
Hash256 plan_hash(const Plan& plan);

/// Errors: kIo, kConfig, kNoSpace; the message names the file.
Result<void> write_plan_file(const Plan& plan, const std::string& path);
Result<Plan> read_plan_file(const std::string& path);

}  // namespace beaverpond
