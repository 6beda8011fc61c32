// What P0, P1 and P2 receive in real runs at full size, on two secret inputs, by chi-square: every
// bit, byte and digit of every message, of what is opened, and of differences between neighbours,
// between messages and between runs. Then mutants, which the same statistics must catch.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <optional>

#include "kernels/securenn/digits.h"
#include "online/securenn/engine.h"
#include "tests/online/protocol/engine_harness.h"
#include "tests/online/securenn/uniformity.h"
#include "tests/online/transport/forwarding_transport.h"
#include "tests/online/transport/players.h"
#include "tests/soak.h"

namespace beaverpond::testing {
namespace {

using securenn::Product;
using Digits = std::vector<std::uint8_t>;
using Message = std::vector<std::uint8_t>;

const std::size_t kElements = static_cast<std::size_t>(campaign_size(16'384, 262'144));

/// Keeps what its player sends, by receiver.
class Tap final : public ForwardingTransport {
 public:
  explicit Tap(Transport& inner) : ForwardingTransport(inner) {}

  Operation start_send(int to, std::span<const std::uint8_t> bytes, const Tag& tag,
                       StreamRef stream) override {
    if (on) sent[static_cast<std::size_t>(to)].emplace_back(bytes.begin(), bytes.end());
    return ForwardingTransport::start_send(to, bytes, tag, stream);
  }

  bool on = false;
  std::array<std::vector<Message>, 3> sent;
};

/// Messages of a run, [from][to].
using Transcript = std::array<std::array<std::vector<Message>, 3>, 3>;

/// P2 owns one factor, so that it shares an input. Products, truncation, ReLU.
Program make_program() {
  ProgramBuilder b;
  const auto n = static_cast<std::uint32_t>(kElements);
  const ValueId x = b.input(0, {n}, 8);
  const ValueId y = b.input(2, {n}, 8);
  b.reveal(b.rows(b.relu_truncate(b.multiply(x, y), 8, true).value, 0, 1, 1), 7);
  return b.finish().value();
}

struct Secret {
  std::uint64_t x = 0;
  std::uint64_t y = 0;
};
constexpr Secret kNothing{};
constexpr Secret kLarge{0 - ((std::uint64_t{1} << 30) - 1), (std::uint64_t{1} << 31) - 3};

/// One run in which all elements are the same secret. `bundle` also says what is dealt.
Transcript run_on(Protocol protocol, const Secret& secret, std::uint64_t bundle) {
  const Program program = make_program();
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr, CompareProfile::kLan, protocol).value();
  TestDealer dealer(plan, 3, 77 + bundle, make_cpu_backend());
  std::vector<Bundle> bundles = dealer.deal(bundle);
  const std::vector<std::unique_ptr<Transport>> transports = make_local_transports(3);
  Transcript transcript;
  run_players(3, [&](int rank) {
    const auto index = static_cast<std::size_t>(rank);
    Tap tap(*transports[index]);
    Result<PairKeys> keys = exchange_pair_keys(tap, Tag{1, 0, 0, 0}, in_ms(60'000));
    ASSERT_TRUE(keys.ok()) << keys.error().message;
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    EngineOptions options;
    options.session = 1;
    const auto engine =
        create_securenn_engine(program, plan, *backend, tap, std::move(keys).value(), options);
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    const WordVector words(kElements, rank == 0 ? secret.x : secret.y);
    RunInputs inputs;
    inputs.inputs.resize(2);
    if (rank != 1) inputs.inputs[rank == 0 ? 0 : 1] = words;
    tap.on = true;
    const Result<void> done = (*engine)->run(std::move(bundles[index]), inputs);
    ASSERT_TRUE(done.ok()) << done.error().message;
    transcript[index] = std::move(tap.sent);
  });
  return transcript;
}

// ---- Columns ----

struct Column {
  std::string name;
  WordVector words;
  Digits digits;           ///< 64 an element, else words
  std::size_t planes = 0;  ///< of bits, if the words hold such
};

bool is_digits(const Message& message) {
  return message.size() == securenn::packed_bytes(kElements);
}

Digits unpack(const Message& message) {
  Digits digits;
  for (std::size_t at = 0; at + 7 <= message.size(); at += 7) {
    std::uint64_t word = 0;
    std::memcpy(&word, message.data() + at, 7);
    for (int i = 0; i < 8; ++i) digits.push_back((word >> (7 * i)) & 0x7f);
  }
  return digits;
}

WordVector words_of(const Message& message) {
  WordVector words(message.size() / 8);
  std::memcpy(words.data(), message.data(), words.size() * 8);
  return words;
}

/// What one player sent another: columns of the elements' length, or of planes of bits. What is
/// revealed at the end, one word, is the result.
std::vector<Column> columns(const Transcript& transcript, std::size_t from, std::size_t to) {
  std::vector<Column> all;
  const std::string way = "P" + std::to_string(from) + " to P" + std::to_string(to) + " ";
  for (const Message& message : transcript[from][to]) {
    if (message.size() < 1024) continue;
    if (is_digits(message)) {
      all.push_back({way + std::to_string(all.size()), {}, unpack(message), 0});
      continue;
    }
    const WordVector words = words_of(message);
    const std::size_t each = words.size() % kElements == 0 ? kElements : words.size();
    for (std::size_t at = 0; at < words.size(); at += each) {
      const auto first = words.begin() + static_cast<std::ptrdiff_t>(at);
      all.push_back({way + std::to_string(all.size()),
                     WordVector(first, first + static_cast<std::ptrdiff_t>(each)),
                     {},
                     each == kElements ? 0 : each / (kElements / 64)});
    }
  }
  return all;
}

Column difference(const Column& x, const Column& y, std::size_t lag = 0) {
  Column out{x.name + " less " + y.name, {}, {}, x.planes};
  if (lag > 0) out.name = x.name + ", " + std::to_string(lag) + " apart";
  for (std::size_t i = 0; i + lag < x.words.size(); ++i) {
    const std::uint64_t other = y.words[i + lag];
    out.words.push_back(x.planes > 0 ? x.words[i] ^ other : x.words[i] - other);
  }
  for (std::size_t i = 0; i + 64 * lag < x.digits.size(); ++i) {
    out.digits.push_back(
        static_cast<std::uint8_t>(Product::digit_subtract(x.digits[i], y.digits[i + 64 * lag])));
  }
  return out;
}

void judge_column(Judge& judge, const Column& column) {
  const std::size_t size = column.words.size();
  if (column.planes > 0) {
    judge.planes(column.name, column.words, column.planes);
  } else if (size > 0) {
    judge.words(column.name, column.words);
  }
  if (!column.digits.empty()) judge.digits(column.name, column.digits);
}

/// Each by itself, against its neighbour, and against every other.
void judge_columns(Judge& judge, const std::vector<Column>& all) {
  for (std::size_t i = 0; i < all.size(); ++i) {
    judge_column(judge, all[i]);
    if (all[i].planes == 0) judge_column(judge, difference(all[i], all[i], 1));
    for (std::size_t j = 0; j < i; ++j) {
      if (all[i].words.size() != all[j].words.size()) continue;
      judge_column(judge, difference(all[i], all[j]));
    }
  }
}

/// What two players' columns open to: sums of words, XORs of planes.
std::vector<Column> opened(const std::vector<Column>& mine, const std::vector<Column>& theirs) {
  std::vector<Column> all;
  EXPECT_EQ(mine.size(), theirs.size());
  for (std::size_t i = 0; i < mine.size() && i < theirs.size(); ++i) {
    Column& sum = all.emplace_back(theirs[i]);
    if (!sum.digits.empty()) {
      all.pop_back();  // comparisons: below
      continue;
    }
    sum.name += ", opened";
    for (std::size_t at = 0; at < sum.words.size(); ++at) {
      if (sum.planes == 0) {
        sum.words[at] += mine[i].words[at];
      } else {
        sum.words[at] ^= mine[i].words[at];
      }
    }
  }
  return all;
}

/// What P2 adds up: no zero or one, anywhere alike, the rest nonzero and uniform.
void judge_comparison(Judge& judge, const std::string& name, const Digits& of_p0,
                      const Digits& of_p1) {
  Digits sums(of_p0.size());
  std::vector<std::optional<std::size_t>> zero(of_p0.size() / 64);
  std::uint64_t zeros = 0;
  std::vector<std::uint32_t> places(64);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    sums[i] = static_cast<std::uint8_t>(Product::digit_add(of_p0[i], of_p1[i]));
    if (sums[i] != 0) continue;
    EXPECT_FALSE(zero[i / 64].has_value());
    zero[i / 64] = i % 64;
    ++zeros;
    ++places[i % 64];
  }
  judge.share(name + ", zeros", zeros, zero.size(), 0.5);
  judge.cells(name + ", place of the zero", places);
  judge.digits(name + ", sums", sums, 1);
  for (const std::size_t lag : {1, 64}) {  // blinding is drawn by blocks of 64 elements
    std::vector<std::uint32_t> apart(64);
    for (std::size_t i = 0; i + lag < zero.size(); ++i) {
      if (zero[i].has_value() && zero[i + lag].has_value()) ++apart[*zero[i] ^ *zero[i + lag]];
    }
    judge.cells(name + ", places " + std::to_string(lag) + " apart", apart);
  }
}

/// P1's terms against digits that P2 dealt it: where its top digit is zero, so is its top term,
/// but for the common mask.
void judge_against_dealt(Judge& judge, const std::string& name, const Digits& dealt,
                         const Digits& terms) {
  std::uint64_t elements = 0;
  std::uint64_t with_zero = 0;
  for (std::size_t i = 0; i + 64 <= dealt.size(); i += 64) {
    if (dealt[i + 63] != 0) continue;
    ++elements;
    const auto first = terms.begin() + static_cast<std::ptrdiff_t>(i);
    with_zero += std::find(first, first + 64, 0) != first + 64 ? 1 : 0;
  }
  judge.share(name + ", against dealt digits", with_zero, elements, 1 - std::pow(66.0 / 67, 64));
}

std::vector<Column> digit_columns(const std::vector<Column>& all) {
  std::vector<Column> found;
  for (const Column& column : all) {
    if (!column.digits.empty()) found.push_back(column);
  }
  return found;
}

/// The whole view of each player.
Judge judge_run(const Transcript& transcript) {
  Judge judge;
  std::vector<Column> to[3][3];
  for (std::size_t from = 0; from < 3; ++from) {
    for (std::size_t player = 0; player < 3; ++player) {
      to[player][from] = columns(transcript, from, player);
    }
  }
  for (std::size_t player = 0; player < 3; ++player) {
    std::vector<Column> received;
    for (const auto& from : to[player]) received.insert(received.end(), from.begin(), from.end());
    judge_columns(judge, received);
  }
  judge_columns(judge, opened(to[1][0], to[0][1]));  // what P0 and P1 open
  judge_columns(judge, opened(to[2][0], to[2][1]));  // what P2 adds up
  const std::vector<Column> of_p0 = digit_columns(to[2][0]);
  const std::vector<Column> of_p1 = digit_columns(to[2][1]);
  EXPECT_FALSE(of_p0.empty());
  EXPECT_EQ(of_p0.size(), of_p1.size());
  for (std::size_t i = 0; i < of_p0.size() && i < of_p1.size(); ++i) {
    judge_comparison(judge, "comparison " + std::to_string(i), of_p0[i].digits, of_p1[i].digits);
  }
  const std::vector<Column> dealt = digit_columns(to[1][2]);
  if (!dealt.empty()) {
    judge_against_dealt(judge, "comparison 0", dealt[0].digits, of_p1[0].digits);
  }
  return judge;
}

/// What P0 and P1 open in two runs.
Judge judge_two_runs(const Transcript& one, const Transcript& two) {
  Judge judge;
  const auto open = [](const Transcript& t) { return opened(columns(t, 0, 1), columns(t, 1, 0)); };
  const std::vector<Column> first = open(one);
  const std::vector<Column> second = open(two);
  EXPECT_EQ(first.size(), second.size());
  EXPECT_GT(first.size(), 4u);
  for (std::size_t i = 0; i < first.size(); ++i) {
    judge_column(judge, difference(first[i], second[i]));
  }
  return judge;
}

class SecurennWire : public ::testing::TestWithParam<Protocol> {};
INSTANTIATE_TEST_SUITE_P(Protocols, SecurennWire,
                         ::testing::Values(Protocol::kSecurenn, Protocol::kSecurennFused),
                         [](const auto& info) {
                           return info.param == Protocol::kSecurenn ? "faithful" : "fused";
                         });

TEST_P(SecurennWire, EveryPlayersViewIsUniformForTwoSecrets) {
  const Transcript nothing = run_on(GetParam(), kNothing, 0);
  const Transcript large = run_on(GetParam(), kLarge, 1);
  std::uint64_t statistics = 0;
  for (const Transcript* run : {&nothing, &large}) {
    const Judge judge = judge_run(*run);
    EXPECT_TRUE(judge.findings().empty()) << judge.summary();
    statistics += judge.statistics();
  }
  const Judge both = judge_two_runs(nothing, large);
  EXPECT_TRUE(both.findings().empty()) << both.summary();
  statistics += both.statistics();
  EXPECT_GT(statistics, 10'000u);
  EXPECT_LT(2 * statistics, kMostStatistics);  // of both protocols
}

TEST_P(SecurennWire, ABundleThatIsSpentTwiceIsCaught) {
  const Judge judge =
      judge_two_runs(run_on(GetParam(), kNothing, 0), run_on(GetParam(), kLarge, 0));
  EXPECT_GT(judge.findings().size(), 100u) << judge.summary();
}

// ---- Mutants of what P2 deals and adds up ----

Message message_of(const WordVector& words) {
  Message message(words.size() * 8);
  std::memcpy(message.data(), words.data(), message.size());
  return message;
}

/// Of the faithful protocol: where P2's messages to P1 and P0's to P2 lie.
constexpr std::size_t kDealtDelta = 2;  // after P2's input and the digits
constexpr std::size_t kDealtEta = 3;
constexpr std::size_t kMasked = 0;

TEST(SecurennWireMutants, SharesThatAreDealtInThePlainAreCaught) {
  Transcript run = run_on(Protocol::kSecurenn, kNothing, 0);
  const WordVector of_p0 = words_of(run[0][2][kMasked]);
  const WordVector of_p1 = words_of(run[1][2][kMasked]);
  WordVector delta = words_of(run[2][1][kDealtDelta]);
  WordVector eta = words_of(run[2][1][kDealtEta]);
  ASSERT_EQ(delta.size(), kElements);
  ASSERT_EQ(eta.size(), kElements);
  WordVector plain, draws;
  for (std::size_t i = 0; i < kElements; ++i) {
    plain.push_back(Product::convert_sum(of_p0[i], of_p1[i]).wrapped);
    draws.push_back(Product::odd_subtract(plain[i], delta[i]));
  }
  run[2][1][kDealtDelta] = message_of(plain);
  const Judge no_draw = judge_run(run);
  EXPECT_TRUE(no_draw.found_in("P2 to P1")) << no_draw.summary();

  // Both drawn from one place: each is uniform, and their difference tells.
  const Digits left = unpack(run[0][2][1]);
  const Digits right = unpack(run[1][2][1]);
  for (std::size_t i = 0; i < kElements; ++i) {
    Product::Word found = 0;
    for (std::size_t j = 64 * i; j < 64 * i + 64; ++j) {
      if (Product::digit_add(left[j], right[j]) == 0) found = 1;
    }
    eta[i] = Product::odd_subtract(found, draws[i]);
  }
  run[2][1][kDealtDelta] = message_of(delta);
  run[2][1][kDealtEta] = message_of(eta);
  const Judge one_draw = judge_run(run);
  EXPECT_TRUE(one_draw.found_in("less P2 to P1")) << one_draw.summary();
}

TEST(SecurennWireMutants, AMaskThatAllElementsShareIsCaught) {
  Transcript run = run_on(Protocol::kSecurenn, kNothing, 0);
  const WordVector of_p0 = words_of(run[0][2][kMasked]);
  WordVector of_p1 = words_of(run[1][2][kMasked]);
  // 2x = 0, so that the sum is r: all r become the first.
  const std::uint64_t first = of_p0[0] + of_p1[0];
  for (std::size_t i = 0; i < kElements; ++i) of_p1[i] = first - of_p0[i];
  run[1][2][kMasked] = message_of(of_p1);
  const Judge judge = judge_run(run);
  EXPECT_TRUE(judge.found_in("opened")) << judge.summary();
}

// ---- Mutants of the blinding, by the product's formulas ----

struct Blinding {
  bool factors = true;
  bool masks = true;
  bool places = true;
  std::size_t repeats_after = ~std::size_t{0};  ///< elements
};

/// ShareConvert's comparison of 0 + r with r, blinded so, judged as a run's is.
Judge judge_blinding(const Blinding& blinding) {
  Digits dealt(64 * kElements), of_p0(64 * kElements), of_p1(64 * kElements);
  std::mt19937_64 random(99), common(7);
  for (std::size_t i = 0; i < kElements; ++i) {
    if (i % blinding.repeats_after == 0) common.seed(7);
    const std::uint64_t r = random();
    const Product::Question question = Product::question(r, true, (random() & 1) != 0);
    std::uint8_t share[64], c0[64], c1[64];
    std::uint8_t* const own = dealt.data() + 64 * i;
    for (unsigned j = 0; j < 64; ++j) {
      share[j] = static_cast<std::uint8_t>(random() % 67);
      own[j] = static_cast<std::uint8_t>(
          Product::digit_subtract(static_cast<unsigned>((r >> j) & 1), share[j]));
    }
    Product::terms(0, share, question, c0);
    Product::terms(1, own, question, c1);
    const auto flips = static_cast<unsigned>(common() & 63);
    for (unsigned j = 0; j < 64; ++j) {
      const auto factor = static_cast<unsigned>(1 + common() % 66);
      const auto mask = static_cast<unsigned>(common() % 67);
      const std::size_t at = 64 * i + Product::place(j, blinding.places ? flips : 0);
      const unsigned scale = blinding.factors ? factor : 1;
      of_p0[at] = Product::blind(0, c0[j], scale, blinding.masks ? mask : 0);
      of_p1[at] = Product::blind(1, c1[j], scale, blinding.masks ? mask : 0);
    }
  }
  Judge judge;
  judge.digits("P0's terms", of_p0);
  judge.digits("P1's terms", of_p1);
  judge_comparison(judge, "comparison", of_p0, of_p1);
  judge_against_dealt(judge, "comparison", dealt, of_p1);
  return judge;
}

TEST(SecurennWireMutants, BlindingThatLeavesSomethingOutIsCaught) {
  const Judge whole = judge_blinding({});
  EXPECT_TRUE(whole.findings().empty()) << whole.summary();
  EXPECT_TRUE(judge_blinding({.factors = false}).found_in("sums"));
  EXPECT_TRUE(judge_blinding({.places = false}).found_in("place of the zero"));
  EXPECT_TRUE(judge_blinding({.masks = false}).found_in("against dealt digits"));
  EXPECT_TRUE(judge_blinding({.repeats_after = 64}).found_in("places 64 apart"));
}

}  // namespace
}  // namespace beaverpond::testing
