// SecureNN's formulas on toy rings: right for every choice of secrets and randomness; and what each
// player sees has the same distribution for all secrets, by enumeration. The product computes with
// the same templates.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <initializer_list>
#include <random>
#include <unordered_map>

#include "kernels/math/securenn.h"

namespace beaverpond::securenn {
namespace {

using Word = std::uint64_t;

/// Bits of x, shared with `share` as P0's.
template <class F>
void share_digits(Word x, const std::uint8_t* share, std::uint8_t* other) {
  for (int j = 0; j < F::kBits; ++j) {
    const auto bit = static_cast<unsigned>((x >> j) & 1);
    other[j] = static_cast<std::uint8_t>(F::digit_subtract(bit, share[j]));
  }
}

template <class F>
bool has_zero(Word x, const std::uint8_t* share, const typename F::Question& q) {
  std::uint8_t other[F::kBits], c0[F::kBits], c1[F::kBits];
  share_digits<F>(x, share, other);
  F::terms(0, share, q, c0);
  F::terms(1, other, q, c1);
  int zeros = 0;
  for (int j = 0; j < F::kBits; ++j) zeros += F::digit_add(c0[j], c1[j]) == 0 ? 1 : 0;
  EXPECT_LE(zeros, 1);
  return zeros == 1;
}

template <class F>
class Toy : public ::testing::Test {
 protected:
  std::mt19937 random_{1};
  std::array<std::uint8_t, F::kBits> any_share() {
    std::array<std::uint8_t, F::kBits> share;
    for (std::uint8_t& digit : share) digit = static_cast<std::uint8_t>(random_() % F::kPrime);
    return share;
  }
};
using Rings = ::testing::Types<Formulas<2, 5>, Formulas<3, 7>, Formulas<4, 67>>;
TYPED_TEST_SUITE(Toy, Rings);

TYPED_TEST(Toy, PrivateCompareForAllWords) {
  using F = TypeParam;
  for (Word x = 0; x <= F::kMask; ++x) {
    for (Word bound = 0; bound <= F::kMask; ++bound) {
      for (int choice = 0; choice < 4; ++choice) {
        const bool at_least = (choice & 1) != 0;
        const bool beta = (choice & 2) != 0;
        const bool answer = at_least ? x >= bound : x > bound;
        const auto share = this->any_share();
        EXPECT_EQ(has_zero<F>(x, share.data(), F::question(bound, at_least, beta)), answer != beta)
            << x << ' ' << bound << ' ' << choice;
      }
    }
  }
}

TYPED_TEST(Toy, ShareConvertForAllSharesAndMasks) {
  using F = TypeParam;
  std::uint64_t cases = 0;
  for (Word a0 = 0; a0 <= F::kMask; ++a0) {
    for (Word a1 = 0; a1 <= F::kMask; ++a1) {
      const Word a = (a0 + a1) & F::kMask;
      if (a == F::kOdd) continue;
      for (Word r0 = 0; r0 <= F::kMask; ++r0) {
        for (Word r1 = 0; r1 <= F::kMask; ++r1) {
          for (const bool eta2 : {false, true}) {
            const typename F::ConvertMask mask{r0, r1, eta2};
            const auto sum = F::convert_sum((a0 + r0) & F::kMask, (a1 + r1) & F::kMask);
            const auto share = this->any_share();
            const Word eta1 =
                has_zero<F>(sum.sum, share.data(), F::question(mask.r(), true, eta2)) ? 1 : 0;
            const Word w0 = this->random_() % F::kOdd, e0 = this->random_() % F::kOdd;
            const Word y0 = F::convert_finish(0, a0, mask, w0, e0);
            const Word y1 = F::convert_finish(1, a1, mask, F::odd_subtract(sum.wrapped, w0),
                                              F::odd_subtract(eta1, e0));
            ASSERT_EQ(F::odd_add(y0, y1), a) << a0 << ' ' << a1 << ' ' << r0 << ' ' << r1;
            ++cases;
          }
        }
      }
    }
  }
  const std::uint64_t words = F::kMask + 1;
  EXPECT_EQ(cases, words * (words - 1) * words * words * 2);
}

TYPED_TEST(Toy, ComputeMsbForAllSharesAndMasks) {
  using F = TypeParam;
  for (Word y = 0; y < F::kOdd; ++y) {
    for (Word x = 0; x < F::kOdd; ++x) {
      for (Word lowest0 = 0; lowest0 <= F::kMask; ++lowest0) {
        for (const bool beta : {false, true}) {
          const Word r = F::odd_add(F::odd_add(y, y), x);
          const auto share = this->any_share();
          const Word answer = has_zero<F>(x, share.data(), F::question(r, false, beta)) ? 1 : 0;
          const Word dealt0 = this->random_() & F::kMask;
          const auto opened = [](Word left, Word right) { return (left + right) & F::kMask; };
          const Word gamma = opened(F::xor_public(0, dealt0, beta),
                                    F::xor_public(1, (answer - dealt0) & F::kMask, beta));
          const bool odd = (r & 1) != 0;
          const Word lambda = opened(F::xor_public(0, lowest0, odd),
                                     F::xor_public(1, ((x & 1) - lowest0) & F::kMask, odd));
          ASSERT_LE(gamma, 1u);
          ASSERT_LE(lambda, 1u);
          ASSERT_EQ(gamma ^ lambda, 2 * y > F::kOdd ? 1u : 0u) << y << ' ' << x;
        }
      }
    }
  }
}

// ---- Views ----

using F2 = Formulas<2, 5>;
using View = std::uint64_t;
using Views = std::unordered_map<View, std::uint64_t>;  // how often

/// Small numbers, one after another.
View view_of(std::initializer_list<Word> parts) {
  View view = 0;
  for (const Word part : parts) view = 128 * view + part;
  return view;
}

/// How a comparison is blinded; mutants leave something out.
struct Blinding {
  bool factors = true;
  bool masks = true;
  bool places = true;
};

/// All that P0 and P1 may send of a comparison, over their common randomness but for beta.
void for_all_sent(const std::uint8_t* x0, const std::uint8_t* x1, const F2::Question& q,
                  const Blinding& blinding, const std::function<void(View)>& see) {
  std::uint8_t c0[2], c1[2];
  F2::terms(0, x0, q, c0);
  F2::terms(1, x1, q, c1);
  const auto choices = [](bool all, unsigned n) { return all ? n : 1u; };
  for (unsigned s = 0; s < choices(blinding.factors, 16); ++s) {
    for (unsigned z = 0; z < choices(blinding.masks, 25); ++z) {
      for (unsigned flips = 0; flips < choices(blinding.places, 2); ++flips) {
        Word sent[4];
        const unsigned factor[2] = {1 + s % 4, 1 + s / 4};
        const unsigned mask[2] = {z % 5, z / 5};
        for (unsigned j = 0; j < 2; ++j) {
          sent[F2::place(j, flips)] = F2::blind(0, c0[j], factor[j], mask[j]);
          sent[2 + F2::place(j, flips)] = F2::blind(1, c1[j], factor[j], mask[j]);
        }
        see(view_of({sent[0], sent[1], sent[2], sent[3]}));
      }
    }
  }
}

/// What P2 sees in ShareConvert of a0 + a1, where it deals digits with `share` as P0's.
Views assistants_views(Word a0, Word a1, unsigned share, const Blinding& blinding) {
  Views views;
  const std::uint8_t x0[2] = {static_cast<std::uint8_t>(share % 5),
                              static_cast<std::uint8_t>(share / 5)};
  for (Word r0 = 0; r0 < 4; ++r0) {
    for (Word r1 = 0; r1 < 4; ++r1) {
      const Word masked0 = (a0 + r0) & 3, masked1 = (a1 + r1) & 3;
      std::uint8_t x1[2];
      share_digits<F2>(F2::convert_sum(masked0, masked1).sum, x0, x1);
      for (const bool eta2 : {false, true}) {
        const F2::ConvertMask mask{r0, r1, eta2};
        for_all_sent(x0, x1, F2::question(mask.r(), true, eta2), blinding, [&](View sent) {
          ++views[view_of({sent, masked0, masked1})];
        });
      }
    }
  }
  return views;
}

/// Whether the assistant's views are the same for all secrets, whatever it deals.
bool assistant_learns_nothing(const Blinding& blinding) {
  for (unsigned share = 0; share < 25; ++share) {
    const Views first = assistants_views(0, 0, share, blinding);
    for (Word a0 = 0; a0 < 4; ++a0) {
      for (Word a1 = 0; a1 < 4; ++a1) {
        if (((a0 + a1) & 3) == 3) continue;  // outside ShareConvert's domain
        if (assistants_views(a0, a1, share, blinding) != first) return false;
      }
    }
  }
  return true;
}

TEST(SecurennViews, TheAssistantLearnsNothingFromShareConvert) {
  EXPECT_TRUE(assistant_learns_nothing({}));
}

TEST(SecurennViews, MutantsOfTheBlindingAreCaught) {
  EXPECT_FALSE(assistant_learns_nothing({.factors = false}));
  EXPECT_FALSE(assistant_learns_nothing({.places = false}));
  // Without a mask, shares that the assistant dealt tell which term is which: the design's formula.
  EXPECT_FALSE(assistant_learns_nothing({.masks = false}));
}

TEST(SecurennViews, AMaskUsedTwiceIsCaught) {
  const auto views = [](Word a, Word b, bool twice) {
    Views seen;
    for (Word r = 0; r < 4; ++r) {
      for (Word other = 0; other < 4; ++other) {
        ++seen[view_of({(a + r) & 3, (b + (twice ? r : other)) & 3})];
      }
    }
    return seen;
  };
  EXPECT_EQ(views(0, 0, false), views(1, 3, false));
  EXPECT_NE(views(0, 0, true), views(1, 3, true));
}

TEST(SecurennViews, TheAssistantLearnsNothingFromComputeMsb) {
  // The factory dealt x and its digits: the assistant knows neither.
  const auto views = [](Word y) {
    Views seen;
    for (Word x = 0; x < 3; ++x) {
      const Word r = F2::odd_add(F2::odd_add(y, y), x);
      for (unsigned share = 0; share < 25; ++share) {
        const std::uint8_t x0[2] = {static_cast<std::uint8_t>(share % 5),
                                    static_cast<std::uint8_t>(share / 5)};
        std::uint8_t x1[2];
        share_digits<F2>(x, x0, x1);
        for (const bool beta : {false, true}) {
          for_all_sent(x0, x1, F2::question(r, false, beta), {}, [&](View sent) { ++seen[sent]; });
        }
      }
    }
    return seen;
  };
  EXPECT_EQ(views(0), views(1));
  EXPECT_EQ(views(0), views(2));
}

TEST(SecurennViews, TheAssistantLearnsNothingFromTheFusedRelu) {
  // A ring of three bits, two of which are compared. The assistant knows r, and not beta.
  for (Word r = 0; r < 8; ++r) {
    const auto views = [r](Word a, bool with_beta) {
      Views seen;
      const Word c = (a + r) & 7;
      for (unsigned share = 0; share < 25; ++share) {
        const std::uint8_t x0[2] = {static_cast<std::uint8_t>(share % 5),
                                    static_cast<std::uint8_t>(share / 5)};
        std::uint8_t x1[2];
        share_digits<F2>(r & 3, x0, x1);
        for (const bool beta : {false, true}) {
          for_all_sent(x0, x1, F2::question(c & 3, false, beta && with_beta), {},
                       [&](View sent) { ++seen[sent]; });
        }
      }
      return seen;
    };
    bool caught = false;
    for (Word a = 1; a < 8; ++a) {
      EXPECT_EQ(views(a, true), views(0, true)) << r << ' ' << a;
      caught = caught || views(a, false) != views(0, false);
    }
    EXPECT_EQ(caught, (r & 3) != 0);  // r = 0 is above no c; else a fixed beta tells
  }
}

TEST(SecurennViews, WhoHoldsSharesLearnsNothing) {
  // Player 1, from ShareConvert and the round that opens 2y + x; the assistant's and the factory's
  // choices enumerated. Its share and the common r0, r1, eta2 are fixed.
  using F = F2;
  const Word a1 = 1, r0 = 2, r1 = 3;
  const auto views = [&](Word a0, bool eta2) {
    Views seen;
    const F::ConvertMask mask{r0, r1, eta2};
    const auto sum = F::convert_sum((a0 + r0) & 3, (a1 + r1) & 3);
    const std::uint8_t zeros[2] = {0, 0};
    const Word eta1 = has_zero<F>(sum.sum, zeros, F::question(mask.r(), true, eta2)) ? 1 : 0;
    for (unsigned share = 0; share < 25; ++share) {
      const std::uint8_t drawn[2] = {static_cast<std::uint8_t>(share % 5),
                                     static_cast<std::uint8_t>(share / 5)};
      std::uint8_t digits[2];
      share_digits<F>(sum.sum, drawn, digits);
      for (Word w0 = 0; w0 < 3; ++w0) {
        for (Word e0 = 0; e0 < 3; ++e0) {
          const Word y0 = F::convert_finish(0, a0, mask, w0, e0);
          for (Word x0 = 0; x0 < 3; ++x0) {
            const Word sent = F::odd_add(F::odd_add(y0, y0), x0);
            ++seen[view_of({digits[0], digits[1], F::odd_subtract(sum.wrapped, w0),
                            F::odd_subtract(eta1, e0), sent})];
          }
        }
      }
    }
    return seen;
  };
  for (const bool eta2 : {false, true}) {
    for (const Word a0 : {0, 1, 3}) EXPECT_EQ(views(a0, eta2), views(0, eta2)) << a0;
  }
}

}  // namespace
}  // namespace beaverpond::securenn
