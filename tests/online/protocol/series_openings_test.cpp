// What a player sees of lookups and of a series is uniform, and so are the differences between
// openings of the same secret: chi-square, fixed seeds, alpha = 1e-6. The mutants use one stream
// twice, for two lookups or for all members: each opening stays uniform, the differences do not.
#include <gtest/gtest.h>

#include "tests/online/protocol/opening_tap.h"
#include "tests/online/protocol/player_group.h"
#include "tests/online/protocol/stream_backend.h"

namespace beaverpond {
namespace {

using testing::expect_ok;
using testing::OpeningTap;
using testing::PlayerGroup;
using testing::seed_name;
using testing::StreamMapBackend;
using testing::TestDealer;
using testing::uniform;
using testing::WordVector;
using testing::worst_bit;

struct Openings {
  WordVector words;
  WordVector planes;
};

/// What player 1 saw opened in every member of a bundle, when every input word is `secret`.
std::vector<Openings> record(const Program& program, std::uint64_t secret, std::uint64_t number,
                             const StreamMapBackend::Map& map) {
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr).value();
  std::set<std::string> seeds;
  TestDealer names(plan, 2, number);
  for (const Bundle& bundle : names.deal(number)) seeds.insert(seed_name(bundle.seed()));
  const auto backend = [&](int) -> std::unique_ptr<Backend> {
    if (!map) return make_cpu_backend();
    return std::make_unique<StreamMapBackend>(make_cpu_backend(), seeds, map);
  };
  TestDealer dealer(plan, 2, number, backend(0));
  std::vector<Bundle> bundles = dealer.deal(number);
  OpeningTap* tap = nullptr;
  PlayerGroup::Seams seams;
  seams.backend = backend;
  seams.transport = [&](int rank, Transport& inner) -> std::unique_ptr<Transport> {
    auto made = std::make_unique<OpeningTap>(inner);
    if (rank == 1) tap = made.get();
    return made;
  };
  PlayerGroup group(program, plan, 2, seams);
  std::vector<WordVector> inputs(program.inputs);
  for (const Op& op : program.ops) {
    if (op.code != OpCode::kInput) continue;
    inputs[op.slot].resize(program.value(op.out).shape.count(), secret);
  }
  std::vector<Openings> members;
  for (std::uint32_t member = 0; member < plan.members; ++member) {
    expect_ok(group.run(member == 0 ? &bundles : nullptr, inputs));
    members.push_back({std::move(tap->words), std::move(tap->planes)});
    tap->words.clear();
    tap->planes.clear();
  }
  return members;
}

void append(WordVector& to, const WordVector& from) {
  to.insert(to.end(), from.begin(), from.end());
}

constexpr std::uint32_t kLookups = 4096;
constexpr std::uint64_t kTable = 256;
constexpr std::uint64_t kRuns = 30;
constexpr std::uint64_t kLookupRuns = 12;

/// Two tables at the same index, as 1/S takes them.
Program lookup_program() {
  ProgramBuilder b;
  const ValueId x = b.input(0, {kLookups}, 0);
  for (const std::uint64_t factor : {3, 5}) {
    WordVector table(kTable);
    for (std::uint64_t i = 0; i < kTable; ++i) table[i] = factor * i;
    b.reveal(b.lookup(x, table, 0), 1);
  }
  return b.finish().value();
}

/// Indices as words of eight bytes, since a lookup opens its index's bits alone.
struct LookupOpenings {
  WordVector first;
  WordVector second;
  WordVector differences;
};

LookupOpenings record_lookups(std::uint64_t secret, const StreamMapBackend::Map& map) {
  const Program program = lookup_program();
  LookupOpenings seen;
  const auto pack = [](const WordVector& words, WordVector& to) {
    for (std::size_t i = 0; i + 8 <= words.size(); i += 8) {
      std::uint64_t packed = 0;
      for (std::size_t j = 0; j < 8; ++j) packed |= (words[i + j] % kTable) << (8 * j);
      to.push_back(packed);
    }
  };
  for (std::uint64_t run = 0; run < kLookupRuns; ++run) {
    const WordVector words = record(program, secret, run, map)[0].words;
    EXPECT_EQ(words.size(), 2 * kLookups);
    for (const std::uint64_t word : words) EXPECT_LT(word, 2 * kTable);  // a sum of two players'
    const WordVector first(words.begin(), words.begin() + kLookups);
    const WordVector second(words.begin() + kLookups, words.end());
    WordVector differences(kLookups);
    for (std::size_t i = 0; i < kLookups; ++i) differences[i] = first[i] - second[i];
    pack(first, seen.first);
    pack(second, seen.second);
    pack(differences, seen.differences);
  }
  return seen;
}

class LookupOpenings2 : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(LookupOpenings2, IndicesAndTheirDifferencesAreUniformWhateverTheSecret) {
  const LookupOpenings seen = record_lookups(GetParam(), nullptr);
  for (const WordVector* words : {&seen.first, &seen.second, &seen.differences}) {
    ASSERT_GT(words->size(), 6000u);
    EXPECT_TRUE(uniform(*words)) << testing::chi_square(*words);
    EXPECT_LT(worst_bit(*words), 5.5);
  }
}
INSTANTIATE_TEST_SUITE_P(Secrets, LookupOpenings2, ::testing::Values(0, 77));

TEST(LookupOpeningsMutant, OneMaskForTwoLookupsIsCaught) {
  // Entries 0 and 1 are the lookups: both take the mask of entry 0.
  const LookupOpenings seen =
      record_lookups(77, [](std::uint64_t stream) { return stream == 2 ? 0 : stream; });
  EXPECT_TRUE(uniform(seen.first));
  EXPECT_FALSE(uniform(seen.differences));
}

constexpr std::uint32_t kSide = 64;
constexpr std::uint32_t kMembers = 3;

/// Fixed weights: a product, a ReLU and a lookup of its bit in every member.
Program series_program() {
  ProgramBuilder b;
  b.set_members(kMembers);
  const ValueId x = b.input(0, {kSide, kSide}, 16);
  const ValueId w = b.input(1, {kSide, kSide}, 16, true);
  const ValueAndBit y = b.relu_truncate(b.matmul(x, w), 16, true);
  b.reveal(b.matmul(y.value, w, false, true), 1);
  return b.finish().value();
}

struct SeriesOpenings {
  WordVector words;              ///< of all members
  WordVector planes;             ///< of all members
  WordVector word_differences;   ///< of one member's openings and the next one's
  WordVector plane_differences;  ///< likewise
};

SeriesOpenings record_series(std::uint64_t secret, const StreamMapBackend::Map& map) {
  const Program program = series_program();
  constexpr std::uint64_t kMatrix = std::uint64_t{kSide} * kSide;
  SeriesOpenings seen;
  for (std::uint64_t run = 0; run < kRuns; ++run) {
    std::vector<Openings> members = record(program, secret, run, map);
    for (const Openings& member : members) {
      append(seen.words, member.words);
      append(seen.planes, member.planes);
    }
    // X - A and W - B come first; W - B in no member but the first.
    WordVector& first = members[0].words;
    EXPECT_EQ(first.size(), members[1].words.size() + kMatrix);
    first.erase(first.begin() + kMatrix, first.begin() + 2 * kMatrix);
    for (std::size_t i = 1; i < members.size(); ++i) {
      const Openings& a = members[i - 1];
      const Openings& b = members[i];
      EXPECT_EQ(a.words.size(), b.words.size());
      EXPECT_EQ(a.planes.size(), b.planes.size());
      for (std::size_t j = 0; j < b.words.size(); ++j) {
        seen.word_differences.push_back(b.words[j] - a.words[j]);
      }
      for (std::size_t j = 0; j < b.planes.size(); ++j) {
        seen.plane_differences.push_back(b.planes[j] ^ a.planes[j]);
      }
    }
  }
  return seen;
}

class SeriesOpenings2 : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(SeriesOpenings2, MembersAndTheirDifferencesAreUniformWhateverTheSecret) {
  const SeriesOpenings seen = record_series(GetParam(), nullptr);
  for (const WordVector* words :
       {&seen.words, &seen.planes, &seen.word_differences, &seen.plane_differences}) {
    ASSERT_GT(words->size(), 100000u);
    EXPECT_TRUE(uniform(*words)) << testing::chi_square(*words);
    EXPECT_LT(worst_bit(*words), 5.5);
  }
}
INSTANTIATE_TEST_SUITE_P(Secrets, SeriesOpenings2, ::testing::Values(0, 0x3039));

TEST(SeriesOpeningsMutant, MembersThatShareStreamsAreCaught) {
  const std::uint64_t streams =
      make_plan(series_program(), PrgKind::kAes128Ctr)->entries.size() * 2;
  const SeriesOpenings seen =
      record_series(0x3039, [streams](std::uint64_t stream) { return stream % streams; });
  EXPECT_FALSE(uniform(seen.word_differences));
  EXPECT_FALSE(uniform(seen.plane_differences));
}

}  // namespace
}  // namespace beaverpond
