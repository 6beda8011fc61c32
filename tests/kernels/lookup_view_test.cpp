// The security of lookups, exhaustively: the product's own code, its generator replaced by a tape,
// over two players, a table of 4 words and shares of 2 bits. All values of the randomness are
// enumerated; the multiset of what one player sees must be the same for every secret index.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <map>
#include <vector>

#include "kernels/cpu/lookup.h"
#include "kernels/cpu/prg.h"

namespace beaverpond {
namespace {

constexpr int kBits = 2;
constexpr std::uint64_t kSize = 4;
constexpr std::uint64_t kMaskStream = 10;
constexpr std::uint64_t kDealtStream = 11;

using WordVector = std::vector<std::uint64_t>;

// By player, then stream.
std::array<std::map<std::uint64_t, WordVector>, 2> tape;

Seed seed_of(std::size_t player) {
  Seed seed;
  seed.mutable_bytes()[0] = static_cast<std::uint8_t>(player);
  return seed;
}

}  // namespace

// The generator: what the tape holds.
Prg::Prg(const Seed& seed, PrgKind kind, PrgIsa isa) : kind_(kind), isa_(isa) {
  seed_lo_ = seed.bytes()[0];
}
Prg::~Prg() = default;

void Prg::run(internal::PrgUse, std::uint64_t, std::uint64_t, std::uint8_t*, std::size_t) const {}

void Prg::fill(std::uint64_t stream, std::uint64_t offset_bytes,
               std::span<std::uint8_t> out) const {
  const WordVector& words = tape[seed_lo_].at(stream);
  ASSERT_LE(offset_bytes + out.size(), words.size() * 8);
  std::memcpy(out.data(), words.data() + offset_bytes / 8, out.size());
}

void Prg::add(std::uint64_t stream, std::uint64_t offset_bytes,
              std::span<std::uint64_t> words) const {
  const WordVector& from = tape[seed_lo_].at(stream);
  for (std::size_t i = 0; i < words.size(); ++i) words[i] += from.at(offset_bytes / 8 + i);
}

void Prg::subtract(std::uint64_t stream, std::uint64_t offset_bytes,
                   std::span<std::uint64_t> words) const {
  const WordVector& from = tape[seed_lo_].at(stream);
  for (std::size_t i = 0; i < words.size(); ++i) words[i] -= from.at(offset_bytes / 8 + i);
}

namespace {

enum class Mutant { kNone, kMaskReused, kHighBitsSent };

/// Deals randomness out, least significant bits first.
class Bits {
 public:
  explicit Bits(std::uint64_t value) : value_(value) {}
  std::uint64_t take(int count) {
    const std::uint64_t taken = value_ & ((std::uint64_t{1} << count) - 1);
    value_ >>= count;
    return taken;
  }

 private:
  std::uint64_t value_;
};

struct Setting {
  WordVector secrets;  ///< one index a lookup
  int designated = 0;
  int table_bits = 0;  ///< of a dealt word, which lies in Z mod 2^table_bits; 0: none is dealt
  Mutant mutant = Mutant::kNone;

  int random_bits() const {
    const int lookup = 3 * kBits + static_cast<int>(kSize) * table_bits;
    return static_cast<int>(secrets.size()) * lookup;
  }
};

/// One run of both players with the randomness `value`.
class ToyRun {
 public:
  ToyRun(const Setting& setting, std::uint64_t value) : setting_(setting) {
    Bits bits(value);
    const std::size_t n = setting.secrets.size();
    for (std::size_t player = 0; player < 2; ++player) {
      masks_[player].resize(n + 8);
      for (std::size_t i = 0; i < n; ++i) masks_[player][i] = bits.take(kBits);
      if (setting.mutant == Mutant::kMaskReused) masks_[player][1] = masks_[player][0];
      tape[player][kMaskStream] = masks_[player];
    }
    for (const std::uint64_t secret : setting.secrets) {
      shares_[0].push_back(bits.take(kBits));
      shares_[1].push_back((secret - shares_[0].back()) % kSize);
    }
    const auto other = static_cast<std::size_t>(1 - setting.designated);
    WordVector dealt(n * kSize + 8);
    for (std::size_t i = 0; i < n * kSize; ++i) dealt[i] = bits.take(setting.table_bits);
    tape[other][kDealtStream] = dealt;
    deal();
    open();
  }

  /// Everything that `player` holds and sees, in a few bits each.
  WordVector view(std::size_t player) const {
    WordVector seen = shares_[player];
    seen.insert(seen.end(), masks_[player].begin(), masks_[player].end());
    seen.insert(seen.end(), sent_[1 - player].begin(), sent_[1 - player].end());
    const bool corrected = static_cast<int>(player) == setting_.designated;
    const WordVector& dealt = corrected ? correction_ : tape[player].at(kDealtStream);
    for (const std::uint64_t word : dealt) {
      seen.push_back(word & ((std::uint64_t{1} << setting_.table_bits) - 1));
    }
    return seen;
  }

  /// The shared result of lookup i.
  std::uint64_t result(std::size_t i) const {
    WordVector opened(sent_[0].size());
    for (std::size_t j = 0; j < opened.size(); ++j) opened[j] = sent_[0][j] + sent_[1][j];
    std::uint64_t sum = 0;
    for (std::size_t player = 0; player < 2; ++player) {
      const Seed seed = seed_of(player);
      WordVector out(opened.size());
      cpu::lookup_finish(material(seed, player), kBits, opened, out);
      sum += out[i];
    }
    return sum;
  }

  static const WordVector& table() {
    static const WordVector words = {6, 1, 0, 0x8000000000000003};
    return words;
  }

 private:
  Material material(const Seed& seed, std::size_t player) const {
    Material m;
    m.seed = &seed;
    m.mask_stream = kMaskStream;
    m.correction_stream = kDealtStream;
    m.designated = static_cast<int>(player) == setting_.designated;
    if (m.designated) m.correction = reinterpret_cast<const std::uint8_t*>(correction_.data());
    return m;
  }

  void deal() {
    const Seed seeds[2] = {seed_of(0), seed_of(1)};
    correction_.resize(setting_.secrets.size() * kSize);
    Backend::DealLookup deal;
    deal.table = table();
    deal.count = setting_.secrets.size();
    deal.seeds = seeds;
    deal.designated = setting_.designated;
    deal.mask_stream = kMaskStream;
    deal.correction_stream = kDealtStream;
    deal.correction = correction_;
    cpu::deal_lookup(deal);
  }

  void open() {
    for (std::size_t player = 0; player < 2; ++player) {
      const Seed seed = seed_of(player);
      sent_[player].resize(shares_[player].size());
      cpu::lookup_open(material(seed, player), kBits, shares_[player], sent_[player]);
      if (setting_.mutant != Mutant::kHighBitsSent) continue;
      for (std::size_t i = 0; i < sent_[player].size(); ++i) {
        sent_[player][i] = shares_[player][i] + masks_[player][i];
      }
    }
  }

  Setting setting_;
  std::array<WordVector, 2> masks_;
  std::array<WordVector, 2> shares_;
  std::array<WordVector, 2> sent_;
  WordVector correction_;
};

/// How often each view of `player` occurs over all randomness.
std::map<WordVector, int> histogram(const Setting& setting, std::size_t player) {
  std::map<WordVector, int> counts;
  for (std::uint64_t value = 0; value < std::uint64_t{1} << setting.random_bits(); ++value) {
    ++counts[ToyRun(setting, value).view(player)];
  }
  return counts;
}

/// Whether some player's views tell some secrets from others.
bool leaks(Setting setting, const std::vector<WordVector>& secrets) {
  for (const int designated : {0, 1}) {
    for (const std::size_t player : {0u, 1u}) {
      setting.designated = designated;
      setting.secrets = secrets[0];
      const std::map<WordVector, int> reference = histogram(setting, player);
      for (std::size_t i = 1; i < secrets.size(); ++i) {
        setting.secrets = secrets[i];
        if (histogram(setting, player) != reference) return true;
      }
    }
  }
  return false;
}

TEST(LookupView, EveryViewIsEquallyLikelyForEveryIndexOnBothPlayers) {
  Setting setting;
  setting.table_bits = 2;  // the dealt table included
  EXPECT_FALSE(leaks(setting, {{0}, {1}, {2}, {3}}));
}

TEST(LookupView, TwoLookupsTogetherTellNothing) {
  EXPECT_FALSE(leaks(Setting(), {{0, 0}, {0, 3}, {2, 2}, {3, 1}}));
}

TEST(LookupView, AMaskUsedTwiceIsCaught) {
  Setting setting;
  setting.mutant = Mutant::kMaskReused;
  EXPECT_TRUE(leaks(setting, {{0, 0}, {0, 3}}));
}

TEST(LookupView, BitsAboveTheMaskAreCaught) {
  Setting setting;
  setting.mutant = Mutant::kHighBitsSent;
  EXPECT_TRUE(leaks(setting, {{0}, {1}, {2}, {3}}));
}

TEST(LookupView, ResultsAreExactForAllRandomness) {
  Setting setting;
  setting.table_bits = 2;
  for (const int designated : {0, 1}) {
    for (std::uint64_t index = 0; index < kSize; ++index) {
      setting.designated = designated;
      setting.secrets = {index};
      for (std::uint64_t value = 0; value < std::uint64_t{1} << setting.random_bits(); ++value) {
        ASSERT_EQ(ToyRun(setting, value).result(0), ToyRun::table()[index]);
      }
    }
  }
}

}  // namespace
}  // namespace beaverpond
