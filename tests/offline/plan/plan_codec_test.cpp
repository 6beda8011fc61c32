// The plan's encoding: what is written comes back, and no damaged file passes for another plan
// unnoticed or makes the dealer go astray.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>

#include "beaverpond/program_builder.h"
#include "offline/dealer/dealer.h"
#include "offline/plan/plan.h"

namespace beaverpond {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// Every kind of entry; of a series, with a head, if there are several members.
Program every_kind(std::uint32_t members) {
  const bool fixed = members > 1;
  ProgramBuilder b;
  b.set_members(members);
  const Conv2dShape conv{1, 3, 3, 1, 2, 2, 1, 0, 0};
  const ValueId x = b.input(0, conv.image_shape(), 16);
  const ValueId w = b.input(1, conv.weight_shape(), 16, fixed);
  const ValueId d = b.input(0, conv.result_shape(), 16);
  b.reveal(b.conv2d_grad_weight(x, d, conv), 1);
  b.reveal(b.conv2d_grad_input(d, w, conv), 1);
  const ValueAndBit y = b.relu_truncate(b.conv2d(x, w, conv), 16, true);
  b.reveal(b.truncate_times_bit(d, y.bit, 3, false), 1);
  const ValueId rows = b.reshape(w, {4, 2});
  const ValueAndBit sign = b.relu(rows);
  b.reveal(b.multiply_bit(rows, sign.bit), 2);
  b.reveal(b.truncate(b.matmul(rows, rows, true, false), 16, true), 1);
  b.reveal(b.matmul(b.reshape(d, {2, 4}), rows), 1);
  b.reveal(b.multiply(d, y.value), 1);
  const ValueId index = b.bit_to_word(sign.bit);
  b.reveal(b.lookup(index, {1, ~std::uint64_t{0}}, 16), 1);
  b.reveal(b.lookup(b.bit_to_word(y.bit), {7, 6, 5, 4}, 16), 1);
  b.reveal(b.lookup(index, {7, 6, 5, 4}, 16), 1);
  return b.finish().value();
}

Plan plan_of(std::uint32_t members, PrgKind prg = PrgKind::kChaCha20,
             CompareProfile profile = CompareProfile::kLan) {
  return make_plan(every_kind(members), prg, profile).value();
}

void expect_equal(const Plan& a, const Plan& b) {
  EXPECT_EQ(a.prg, b.prg);
  EXPECT_EQ(a.profile, b.profile);
  EXPECT_EQ(a.members, b.members);
  EXPECT_EQ(a.tables, b.tables);
  EXPECT_EQ(a.correction_size.value, b.correction_size.value);
  EXPECT_EQ(a.member_size_bytes, b.member_size_bytes);
  ASSERT_EQ(a.entries.size(), b.entries.size());
  for (std::size_t i = 0; i < a.entries.size(); ++i) {
    const PlanEntry& x = a.entries[i];
    const PlanEntry& y = b.entries[i];
    EXPECT_EQ(x.kind, y.kind);
    EXPECT_EQ(x.source, y.source);
    EXPECT_EQ(x.count, y.count);
    EXPECT_EQ(x.shift, y.shift);
    EXPECT_EQ(x.mask_x, y.mask_x);
    EXPECT_EQ(x.mask_y, y.mask_y);
    EXPECT_EQ(x.forward, y.forward);
    EXPECT_EQ(x.m, y.m);
    EXPECT_EQ(x.n, y.n);
    EXPECT_EQ(x.k, y.k);
    EXPECT_EQ(x.transpose_x, y.transpose_x);
    EXPECT_EQ(x.transpose_y, y.transpose_y);
    EXPECT_EQ(x.head, y.head);
    EXPECT_EQ(x.table, y.table);
    EXPECT_EQ(x.conv, y.conv);
    EXPECT_EQ(x.correction_offset_bytes, y.correction_offset_bytes);
    EXPECT_EQ(x.correction_size_bytes, y.correction_size_bytes);
  }
}

TEST(PlanCodec, TablesHeadsAndMembersComeBack) {
  for (const std::uint32_t members : {1u, 3u, 65536u}) {
    for (const PrgKind prg : {PrgKind::kChaCha20, PrgKind::kAes128Ctr}) {
      const CompareProfile profile = members == 3 ? CompareProfile::kWan : CompareProfile::kLan;
      const Plan plan = plan_of(members, prg, profile);
      const Bytes bytes = encode_plan(plan);
      const Result<Plan> back = decode_plan(bytes);
      ASSERT_TRUE(back.ok()) << back.error().message;
      expect_equal(plan, back.value());
      EXPECT_EQ(encode_plan(back.value()), bytes);
      EXPECT_EQ(plan_hash(back.value()), plan_hash(plan));
    }
  }
  EXPECT_EQ(plan_of(3).tables.size(), 2u);  // equal tables are kept once
}

TEST(PlanCodec, TheProfileIsPartOfThePlansName) {
  const Plan lan = plan_of(1);
  const Plan wan = plan_of(1, PrgKind::kChaCha20, CompareProfile::kWan);
  EXPECT_NE(plan_hash(lan), plan_hash(wan));
  EXPECT_GT(wan.correction_size.value, lan.correction_size.value);
  Bytes other = encode_plan(lan);
  other[11] = 2;
  const Result<Plan> refused = decode_plan(other);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("profile"), std::string::npos);
}

TEST(PlanCodec, MembersDifferInTheirStreamsAndCorrectionsTheHeadDoesNot) {
  const Plan plan = plan_of(3);
  std::set<std::uint64_t> streams;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
  std::size_t heads = 0;
  for (std::uint32_t i = 0; i < plan.entries.size(); ++i) {
    const PlanEntry& entry = plan.entries[i];
    heads += entry.head ? 1 : 0;
    for (std::uint32_t member = 0; member < 3; ++member) {
      if (entry.head && member > 0) {
        EXPECT_EQ(plan.mask_stream(i, member), plan.mask_stream(i, 0));
        EXPECT_EQ(plan.correction_offset(i, member), plan.correction_offset(i, 0));
        continue;
      }
      EXPECT_TRUE(streams.insert(plan.mask_stream(i, member)).second);
      EXPECT_TRUE(streams.insert(plan.correction_stream(i, member)).second);
      EXPECT_EQ(plan.correction_offset(i, member) % 64, 0u);
      if (entry.correction_size_bytes == 0) continue;
      places.emplace_back(plan.correction_offset(i, member), entry.correction_size_bytes);
    }
  }
  EXPECT_GT(heads, 4u);
  EXPECT_LT(heads, plan.entries.size());
  std::sort(places.begin(), places.end());
  for (std::size_t i = 1; i < places.size(); ++i) {
    EXPECT_LE(places[i - 1].first + places[i - 1].second, places[i].first);
  }
  EXPECT_LE(places.back().first + places.back().second, plan.correction_size.value);
}

/// A plan that was decoded from damaged bytes: the same bytes come out again, so that its hash
/// tells it from the plan it was; and the dealer, if there is memory for it, works.
void check_survivor(const Plan& plan, const Bytes& bytes, const Hash256& original) {
  ASSERT_EQ(encode_plan(plan), bytes);
  ASSERT_NE(plan_hash(plan), original);
  constexpr std::uint64_t kSmall = 1 << 14;
  std::uint64_t words = plan.correction_size.value / 8;
  for (const PlanEntry& entry : plan.entries) words += entry.count;
  if (words > kSmall) return;
  const std::unique_ptr<Backend> backend = make_cpu_backend();
  Result<Dealer> dealer = Dealer::create(plan, 2, *backend);
  ASSERT_TRUE(dealer.ok());
  const Buffer correction = std::move(backend->allocate(plan.correction_size)).value();
  const std::vector<Seed> seeds(2);
  ASSERT_TRUE(dealer->deal(seeds, 0, correction.bytes(), kHostStream).ok());
}

TEST(PlanCodec, PlansOfSecurennComeBackAndAreOfNoOtherProtocol) {
  constexpr std::size_t kProtocolAt = 10;
  for (const Protocol protocol : {Protocol::kSecurenn, Protocol::kSecurennFused}) {
    const Plan plan =
        make_plan(every_kind(3), PrgKind::kAes128Ctr, CompareProfile::kLan, protocol).value();
    Bytes bytes = encode_plan(plan);
    const Result<Plan> back = decode_plan(bytes);
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_EQ(back->protocol, protocol);
    expect_equal(*back, plan);
    EXPECT_NE(plan_hash(plan), plan_hash(plan_of(3, PrgKind::kAes128Ctr)));
    for (const int other : {0, 3, 255}) {
      bytes[kProtocolAt] = static_cast<std::uint8_t>(other);
      EXPECT_FALSE(decode_plan(bytes).ok()) << other;
    }
  }
}

TEST(PlanCodec, NoFlippedByteGoesUnnoticed) {
  std::size_t refused = 0;
  std::size_t survived = 0;
  for (const std::uint32_t members : {1u, 3u}) {
    const Plan plan = plan_of(members);
    const Hash256 original = plan_hash(plan);
    const Bytes bytes = encode_plan(plan);
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      for (const int flip : {0x01, 0x80, 0xff, 1 << at % 8}) {
        Bytes damaged = bytes;
        damaged[at] = static_cast<std::uint8_t>(damaged[at] ^ flip);
        const Result<Plan> result = decode_plan(damaged);
        SCOPED_TRACE("byte " + std::to_string(at) + " flipped by " + std::to_string(flip));
        if (result.ok()) {
          check_survivor(result.value(), damaged, original);
          ++survived;
        } else {
          ASSERT_EQ(result.error().code, ErrorCode::kConfig);
          ASSERT_NE(result.error().message.find("bad plan"), std::string::npos);
          ++refused;
        }
        if (HasFatalFailure()) return;
      }
    }
  }
  EXPECT_GT(refused, survived / 4);
  EXPECT_GT(survived, 0u);  // words of tables, say
}

TEST(PlanCodec, ExtremeFieldsNeverCrash) {
  const Plan plan = plan_of(3);
  const Hash256 original = plan_hash(plan);
  const Bytes bytes = encode_plan(plan);
  for (std::size_t at = 0; at + 8 <= bytes.size(); at += 2) {
    for (const std::uint64_t value :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0x7fffffff}, std::uint64_t{0x80000000},
          std::uint64_t{0xffffffff}, ~std::uint64_t{0}, std::uint64_t{1} << 32}) {
      for (const std::size_t size : {std::size_t{4}, std::size_t{8}}) {
        Bytes damaged = bytes;
        for (std::size_t i = 0; i < size; ++i) {
          damaged[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
        }
        if (damaged == bytes) continue;
        const Result<Plan> result = decode_plan(damaged);
        if (result.ok()) check_survivor(result.value(), damaged, original);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(PlanCodec, NoPartOfAFileIsAPlanNorIsALongerOne) {
  const Bytes bytes = encode_plan(plan_of(3));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_FALSE(decode_plan(std::span(bytes).first(size)).ok()) << size;
  }
  Bytes longer = bytes;
  longer.push_back(0);
  EXPECT_FALSE(decode_plan(longer).ok());
  longer.resize(bytes.size() + 88);
  EXPECT_FALSE(decode_plan(longer).ok());
}

TEST(PlanCodec, ADamagedFileIsNamedWithTheRemedy) {
  const std::string path = ::testing::TempDir() + "/damaged.plan";
  const Plan plan = plan_of(2);
  ASSERT_TRUE(write_plan_file(plan, path).ok());
  const Result<Plan> back = read_plan_file(path);
  ASSERT_TRUE(back.ok()) << back.error().message;
  expect_equal(plan, back.value());
  std::FILE* file = std::fopen(path.c_str(), "r+b");
  ASSERT_NE(file, nullptr);
  std::fputc('X', file);
  std::fclose(file);
  const Result<Plan> damaged = read_plan_file(path);
  ASSERT_FALSE(damaged.ok());
  EXPECT_EQ(damaged.error().code, ErrorCode::kConfig);
  EXPECT_NE(damaged.error().message.find(path), std::string::npos);
  EXPECT_NE(damaged.error().message.find("beaverpond plan -o"), std::string::npos);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace beaverpond
