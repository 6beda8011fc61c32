// The security of comparison, exhaustively: the product's own templates over Z mod 2^3 with 1-bit
// chunks and two players. Every value of the randomness that reaches an opening is enumerated; the
// multiset of what one player sees must be the same for every secret.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/math/compare_block.h"

namespace beaverpond {
namespace {

constexpr int kRingBits = 3;
constexpr std::uint64_t kRingMask = 7;
constexpr int kShift = 1;
constexpr int kRandomBits = 23;

struct ToyTarget {
  using Plane = std::uint64_t;
  static constexpr int kWords = 1;
  static std::uint64_t splat(std::uint64_t v) { return v; }
};
using ToyRing = math::Ring<kRingBits>;
using Toy = math::CompareBlock<ToyTarget, ToyRing>;

/// The toys of both profiles: two leaf nodes and a root, or one node.
CompareLayout toy_layout(CompareProfile profile) {
  if (profile == CompareProfile::kWan) {
    return make_wide_compare_layout(CompareUse::kReluTruncate, kShift, kRingBits, 1, 1);
  }
  return make_compare_layout(CompareUse::kReluTruncate, kShift, kRingBits, 1, 1);
}

/// Deals the bits of one case's randomness out, least significant first.
class Bits {
 public:
  explicit Bits(std::uint64_t value) : value_(value) {}
  std::uint64_t take(int count) {
    const std::uint64_t taken = value_ & ((std::uint64_t{1} << count) - 1);
    value_ >>= count;
    used_ += count;
    return taken;
  }
  int used() const { return used_; }

 private:
  std::uint64_t value_;
  int used_ = 0;
};

struct Player {
  std::array<std::uint64_t, 64> x{};
  std::array<std::uint64_t, 64> r{};
  std::vector<std::uint64_t> masks;  ///< planes: b, b2, wire masks
  std::vector<std::uint8_t> record;  ///< correction record
  std::vector<std::uint64_t> kept = std::vector<std::uint64_t>(math::KeptPlanes::kCount);
  std::uint64_t root_wires[Toy::kMaxWires] = {};
  std::uint64_t final[2] = {};
  std::array<std::uint64_t, 64> z{};
  std::array<std::uint64_t, 64> b{};

  const std::uint8_t* mask_bytes() const {
    return reinterpret_cast<const std::uint8_t*>(masks.data());
  }
};

enum class Mutant { kNone, kSharedWireMask };

/// 64 cases at once: lane i has randomness `first + i`.
class ToyRun {
 public:
  ToyRun(CompareProfile profile, std::uint64_t secret, std::uint64_t first, Mutant mutant)
      : layout_(toy_layout(profile)), secret_(secret) {
    planes_ = static_cast<std::size_t>(layout_.top_plane_offset()) / 8 + 1;
    for (Player& player : players_) {
      player.masks.resize(static_cast<std::size_t>(layout_.mask_planes));
      player.record.resize(layout_.correction_record_bytes() + 8);
    }
    for (int lane = 0; lane < 64; ++lane) draw(first + static_cast<std::uint64_t>(lane), lane);
    if (mutant == Mutant::kSharedWireMask) {
      for (Player& player : players_) player.masks[first_wire() + 1] = player.masks[first_wire()];
    }
    deal();
  }

  void run() {
    for (int lane = 0; lane < 64; ++lane) {
      c[static_cast<std::size_t>(lane)] =
          (players_[0].x[lane] + players_[0].r[lane] + players_[1].x[lane] + players_[1].r[lane]) &
          kRingMask;
    }
    for (int i = 0; i < 2; ++i) {
      std::uint64_t wires[Toy::kMaxWires] = {};
      Player& p = players_[i];
      Toy::leaves(layout_, c.data(), p.record.data(), p.mask_bytes(), p.kept.data(), wires);
      for (int w = 0; w < layout_.leaf_wires; ++w) opened_leaf[w] ^= wires[w];
    }
    for (int i = 0; i < 2; ++i) {
      Player& p = players_[i];
      Toy::nodes(layout_, opened_leaf, p.mask_bytes(), p.record.data() + layout_.products_offset(),
                 one(i), p.kept.data(), p.root_wires);
      if (!layout_.has_root) continue;
      for (int w = 0; w < layout_.root.wires(); ++w) opened_root[w] ^= p.root_wires[w];
    }
    for (int i = 0; i < 2; ++i) {
      Player& p = players_[i];
      Toy::root(layout_, opened_root, p.mask_bytes(), p.record.data() + layout_.products_offset(),
                p.record.data() + layout_.top_plane_offset(), one(i), p.kept.data(), p.final);
      for (int bit = 0; bit < 2; ++bit) opened_final[bit] ^= p.final[bit];
    }
  }

  /// The local end, after the last opening.
  void finish() {
    for (int i = 0; i < 2; ++i) {
      Player& p = players_[i];
      Toy::finish(layout_, 64, c.data(), &opened_final[0], &opened_final[1],
                  p.record.data() + layout_.packed_offset(), i == 0 ? 1 : 0, nullptr, nullptr,
                  p.z.data(), p.b.data());
    }
  }

  /// Everything player `i` holds before the first opening or receives, as one number.
  std::uint64_t view(int i, int lane) const {
    const Player& p = players_[i];
    const auto bit = [lane](std::uint64_t plane) { return (plane >> lane) & 1; };
    std::uint64_t view = p.x[lane] | (p.r[lane] << 3) | (c[lane] << 6);
    int at = 9;
    const auto add = [&](std::uint64_t plane) { view |= bit(plane) << at++; };
    for (const std::uint64_t plane : p.masks) add(plane);
    for (std::size_t plane = 0; plane < planes_; ++plane) {
      std::uint64_t word = 0;
      std::memcpy(&word, p.record.data() + 8 * plane, 8);
      add(word);
    }
    for (int w = 0; w < layout_.leaf_wires; ++w) add(opened_leaf[w]);
    for (int w = 0; layout_.has_root && w < layout_.root.wires(); ++w) add(opened_root[w]);
    for (const std::uint64_t plane : opened_final) add(plane);
    EXPECT_EQ(at, kRandomBits);
    return view;
  }

  std::uint64_t result(int lane) const {
    return (players_[0].z[lane] + players_[1].z[lane]) & kRingMask;
  }
  const CompareLayout& layout() const { return layout_; }
  Player& player(int i) { return players_[i]; }

  std::array<std::uint64_t, 64> c{};
  std::uint64_t opened_leaf[Toy::kMaxWires] = {};
  std::uint64_t opened_root[Toy::kMaxWires] = {};
  std::uint64_t opened_final[2] = {};

 private:
  static std::uint64_t one(int player) { return player == 0 ? ~std::uint64_t{0} : 0; }
  std::size_t first_wire() const {
    const CompareNode& node = layout_.has_root ? layout_.root : layout_.node[0];
    return static_cast<std::size_t>(node.mask_offset);
  }

  void draw(std::uint64_t randomness, int lane) {
    Bits bits(randomness);
    players_[1].x[lane] = bits.take(3);
    players_[0].x[lane] = (secret_ - players_[1].x[lane]) & kRingMask;
    for (Player& player : players_) {
      player.r[lane] = bits.take(3);
      for (std::uint64_t& plane : player.masks) plane |= bits.take(1) << lane;
    }
    for (std::size_t plane = 0; plane < planes_; ++plane) {
      std::uint64_t word = 0;
      std::memcpy(&word, players_[1].record.data() + 8 * plane, 8);
      word |= bits.take(1) << lane;
      std::memcpy(players_[1].record.data() + 8 * plane, &word, 8);
    }
    EXPECT_EQ(bits.used(), kRandomBits);
  }

  /// The clear record, less player 1's part, is player 0's. The words reach no opening: player 1's
  /// are some fixed pattern.
  void deal() {
    std::array<std::uint64_t, 64> r{};
    std::vector<std::uint64_t> masks(players_[0].masks.size());
    for (int lane = 0; lane < 64; ++lane) {
      r[lane] = (players_[0].r[lane] + players_[1].r[lane]) & kRingMask;
    }
    for (std::size_t i = 0; i < masks.size(); ++i) {
      masks[i] = players_[0].masks[i] ^ players_[1].masks[i];
    }
    const std::uint64_t b = masks[static_cast<std::size_t>(layout_.b_plane)];
    Player& p0 = players_[0];
    Player& p1 = players_[1];
    Toy::deal(layout_, r.data(), reinterpret_cast<const std::uint8_t*>(masks.data()), b,
              p0.record.data());
    for (std::size_t at = planes_ * 8; at < layout_.correction_record_bytes(); ++at) {
      p1.record[at] = static_cast<std::uint8_t>(at * 37 + 11);
    }
    for (std::size_t at = 0; at < planes_ * 8; ++at) p0.record[at] ^= p1.record[at];
    const auto packed_end = static_cast<std::size_t>(layout_.words_offset());
    for (std::size_t at = planes_ * 8; at < packed_end; ++at) {
      p0.record[at] = static_cast<std::uint8_t>(p0.record[at] - p1.record[at]);
    }
    for (std::size_t at = packed_end; at < layout_.correction_record_bytes(); at += 8) {
      std::uint64_t a = 0;
      std::uint64_t other = 0;
      std::memcpy(&a, p0.record.data() + at, 8);
      std::memcpy(&other, p1.record.data() + at, 8);
      a -= other;
      std::memcpy(p0.record.data() + at, &a, 8);
    }
  }

  CompareLayout layout_;
  std::uint64_t secret_;
  std::size_t planes_ = 0;
  Player players_[2];
};

/// How often each view of `player` occurs over all randomness.
std::vector<std::uint8_t> histogram(CompareProfile profile, std::uint64_t secret, int player,
                                    Mutant mutant) {
  std::vector<std::uint8_t> counts(std::size_t{1} << kRandomBits);
  for (std::uint64_t first = 0; first < (std::uint64_t{1} << kRandomBits); first += 64) {
    ToyRun toy(profile, secret, first, mutant);
    toy.run();
    for (int lane = 0; lane < 64; ++lane) {
      std::uint8_t& count = counts[toy.view(player, lane)];
      if (count != 255) ++count;
    }
  }
  return counts;
}

class CompareView : public ::testing::TestWithParam<CompareProfile> {};

INSTANTIATE_TEST_SUITE_P(Profiles, CompareView,
                         ::testing::Values(CompareProfile::kLan, CompareProfile::kWan),
                         [](const auto& profile) { return to_string(profile.param); });

TEST_P(CompareView, LayoutOfTheToyIsTheProductsWithSmallerNumbers) {
  const CompareLayout layout = toy_layout(GetParam());
  const bool wide = GetParam() == CompareProfile::kWan;
  EXPECT_EQ(layout.wide, wide);
  EXPECT_EQ(layout.nodes, wide ? 1 : 2);
  EXPECT_EQ(layout.has_root, !wide);
  EXPECT_EQ(layout.leaf_wires, wide ? 2 : 0);
  EXPECT_EQ(wide ? layout.node[0].wires() : layout.root.wires(), 2);
  EXPECT_EQ(layout.product_planes, 1);
  EXPECT_EQ(layout.final_bits, 2);
}

TEST_P(CompareView, EveryViewIsEquallyLikelyForEverySecretOnBothPlayers) {
  for (const int player : {0, 1}) {
    const std::vector<std::uint8_t> reference = histogram(GetParam(), 0, player, Mutant::kNone);
    for (const std::uint64_t secret : {1, 6, 7}) {  // 1, -2, -1 in Z mod 8
      EXPECT_TRUE(histogram(GetParam(), secret, player, Mutant::kNone) == reference)
          << "player " << player << " can tell secret " << secret << " from 0";
    }
  }
}

TEST_P(CompareView, OneMaskBitForTwoWiresIsCaught) {
  bool caught = false;
  for (const int player : {0, 1}) {
    const auto seen = [&](std::uint64_t secret) {
      return histogram(GetParam(), secret, player, Mutant::kSharedWireMask);
    };
    const std::vector<std::uint8_t> reference = seen(0);
    for (const std::uint64_t secret : {1, 6, 7}) caught = caught || seen(secret) != reference;
  }
  EXPECT_TRUE(caught);
}

TEST_P(CompareView, ResultsAreExactForAllRandomness) {
  for (const std::int64_t x : {-2, -1, 0, 1}) {
    const std::int64_t floor_half = x >> 1;
    const std::uint64_t want = static_cast<std::uint64_t>(floor_half < 0 ? 0 : floor_half);
    const std::uint64_t secret = static_cast<std::uint64_t>(x) & kRingMask;
    for (std::uint64_t first = 0; first < (std::uint64_t{1} << kRandomBits); first += 64) {
      ToyRun toy(GetParam(), secret, first, Mutant::kNone);
      toy.run();
      toy.finish();
      for (int lane = 0; lane < 64; ++lane) ASSERT_EQ(toy.result(lane), want) << x;
    }
  }
}

TEST_P(CompareView, CorrectionWordsReachNoOpening) {
  const CompareLayout layout = toy_layout(GetParam());
  for (std::size_t byte = static_cast<std::size_t>(layout.packed_offset());
       byte < layout.correction_record_bytes(); ++byte) {
    ToyRun plain(GetParam(), 1, 64 * 977, Mutant::kNone);
    ToyRun flipped(GetParam(), 1, 64 * 977, Mutant::kNone);
    flipped.player(0).record[byte] ^= 0xff;
    plain.run();
    flipped.run();
    EXPECT_EQ(plain.c, flipped.c);
    for (int wire = 0; wire < Toy::kMaxWires; ++wire) {
      EXPECT_EQ(plain.opened_leaf[wire], flipped.opened_leaf[wire]);
      EXPECT_EQ(plain.opened_root[wire], flipped.opened_root[wire]);
    }
    EXPECT_EQ(plain.opened_final[0], flipped.opened_final[0]);
    EXPECT_EQ(plain.opened_final[1], flipped.opened_final[1]);
  }
}

}  // namespace
}  // namespace beaverpond
