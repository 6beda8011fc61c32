// What P0 and P1 see of a whole ReLU, faithful and fused, on toy rings: every choice of the
// randomness that they do not know, with the share of the result that they end with. It has the
// same distribution for every secret, and every view is equally likely; so a player could have made
// its view up from its input and the result's share alone. The formulas are the product's; what
// joins them is sign.cpp's, and the chi-square of real runs is in tests/online/securenn.
#include <gtest/gtest.h>

#include <vector>

#include "kernels/math/securenn.h"
#include "tests/soak.h"

namespace beaverpond::securenn {
namespace {

using Word = std::uint64_t;
using Counts = std::vector<std::uint32_t>;  ///< how often, by view

/// Numbers of a view, one after another, as one.
class View {
 public:
  void add(Word part, Word radix) {
    EXPECT_LT(part, radix);
    index_ = index_ * radix + part;
  }
  Word index() const { return index_; }

 private:
  Word index_ = 0;
};

/// Whether P2 finds a zero where x is compared.
template <class F>
bool found_zero(Word x, const typename F::Question& q) {
  std::uint8_t zeros[F::kBits] = {}, bits[F::kBits], c0[F::kBits], c1[F::kBits];
  for (int j = 0; j < F::kBits; ++j) bits[j] = static_cast<std::uint8_t>((x >> j) & 1);
  F::terms(0, zeros, q, c0);
  F::terms(1, bits, q, c1);
  for (int j = 0; j < F::kBits; ++j) {
    if (F::digit_add(c0[j], c1[j]) == 0) return true;
  }
  return false;
}

enum class Mutant : std::uint8_t {
  kNone,
  kPlainWrap,      ///< P2 deals what ShareConvert needs without P0's draw
  kSameDraw,       ///< P0 draws delta and eta' from the same place
  kNoX,            ///< ComputeMSB opens 2y
  kTripleTwice,    ///< both products take one triple's masks
  kPlainComplete,  ///< the fused ReLU's r t is dealt without P0's draw
};

// ---- The faithful ReLU, L = 4 ----

using F = Formulas<2, 5>;
constexpr Word kL = 4;
constexpr Word kOddL = 3;
constexpr Word kShares = 25;  ///< of two digits

Word ring(Word x) {
  return x & F::kMask;
}

/// A product's masks and shares of it, both players'.
struct Triple {
  Word a[2], b[2], c[2];
};

/// [x y] as multiply() of sign.cpp has it, player 0 designated.
void multiply(const Triple& t, const Word* x, const Word* y, Word* product, Word* opened_x,
              Word* opened_y) {
  for (int i = 0; i < 2; ++i) opened_x[i] = ring(x[i] - t.a[i]);
  for (int i = 0; i < 2; ++i) opened_y[i] = ring(y[i] - t.b[i]);
  const Word e = ring(opened_x[0] + opened_x[1]);
  const Word f = ring(opened_y[0] + opened_y[1]);
  for (int i = 0; i < 2; ++i) {
    product[i] = ring(t.c[i] + e * (t.b[i] + (i == 0 ? f : 0)) + t.a[i] * f);
  }
}

/// What the player knows beforehand: common randomness, and what it was dealt or draws itself.
struct Own {
  int player = 0;
  Word share = 0;  ///< of x
  F::ConvertMask mask;
  bool beta = false;
  Word dealt_x = 0;        ///< share of ComputeMSB's x
  Word lowest = 0;         ///< share of its lowest bit
  Word triple[2][2] = {};  ///< shares of masks, by product
  Word product = 0;        ///< share of the first triple's product
  // P0's draws of what P2 deals; the other player does not know them.
  Word digits = 0, wrapped = 0, eta1 = 0, gamma = 0;
};

/// Counts the views of ReLU(x) over all that the player does not know, and the share of the second
/// triple's product, which makes the result's uniform.
class Faithful {
 public:
  Faithful(const Own& own, Word x, Mutant mutant)
      : own_(own), other_(1 - own.player), mutant_(mutant), x_(x) {
    counts_.resize((own.player == 1 ? kShares * kOddL * kOddL * kL : 1) * kOddL * 256 * kL);
    x_share_[own.player] = own.share;
    x_share_[other_] = ring(x - own.share);
  }

  Counts run() {
    const bool knows = own_.player == 0;
    for (Word digits = 0; digits < (knows ? 1 : kShares); ++digits) {
      for (Word wrapped = 0; wrapped < (knows ? 1 : kOddL); ++wrapped) {
        for (Word eta1 = 0; eta1 < (knows ? 1 : kOddL); ++eta1) {
          for (Word gamma = 0; gamma < (knows ? 1 : kL); ++gamma) {
            if (knows) {
              convert(own_.digits, own_.wrapped, own_.eta1, own_.gamma);
            } else {
              convert(digits, wrapped, eta1, gamma);
            }
          }
        }
      }
    }
    return std::move(counts_);
  }

 private:
  void convert(Word digits, Word wrapped, Word eta1, Word gamma) {
    if (mutant_ == Mutant::kPlainWrap) wrapped = 0;
    if (mutant_ == Mutant::kSameDraw) eta1 = wrapped;
    const Word a[2] = {ring(2 * x_share_[0]), ring(2 * x_share_[1])};
    const auto sum = F::convert_sum(ring(a[0] + own_.mask.r0), ring(a[1] + own_.mask.r1));
    const Word found = found_zero<F>(sum.sum, F::question(own_.mask.r(), true, own_.mask.eta2));
    const Word wraps[2] = {wrapped, F::odd_subtract(sum.wrapped, wrapped)};
    const Word etas[2] = {eta1, F::odd_subtract(found, eta1)};
    View view;
    if (own_.player == 1) {
      for (int j = 0; j < 2; ++j) {
        const auto bit = static_cast<unsigned>((sum.sum >> j) & 1);
        view.add(F::digit_subtract(bit, static_cast<unsigned>(j == 0 ? digits % 5 : digits / 5)),
                 5);
      }
      view.add(wraps[1], kOddL);
      view.add(etas[1], kOddL);
    }
    Word y[2];
    for (int i = 0; i < 2; ++i) {
      y[i] = F::convert_finish(i, a[i], own_.mask, wraps[i], etas[i]);
    }
    EXPECT_EQ(F::odd_add(y[0], y[1]), ring(2 * x_));
    for (Word dealt = 0; dealt < kOddL; ++dealt) compute_msb(view, y, dealt, gamma);
  }

  void compute_msb(View view, const Word* y, Word dealt, Word drawn) {
    Word dealt_x[2], masked[2];
    dealt_x[own_.player] = own_.dealt_x;
    dealt_x[other_] = dealt;
    const Word x = F::odd_add(dealt_x[0], dealt_x[1]);
    for (int i = 0; i < 2; ++i) {
      masked[i] = F::odd_add(y[i], y[i]);
      if (mutant_ != Mutant::kNoX) masked[i] = F::odd_add(masked[i], dealt_x[i]);
    }
    const Word r = F::odd_add(masked[0], masked[1]);
    view.add(masked[other_], kOddL);
    const Word found = found_zero<F>(x, F::question(r, false, own_.beta));
    const Word answers[2] = {drawn, ring(found - drawn)};
    if (own_.player == 1) view.add(answers[1], kL);
    Word lowest[2], gamma[2], lambda[2];
    lowest[own_.player] = own_.lowest;
    lowest[other_] = ring((x & 1) - own_.lowest);
    for (int i = 0; i < 2; ++i) {
      gamma[i] = F::xor_public(i, answers[i], own_.beta);
      lambda[i] = F::xor_public(i, lowest[i], (r & 1) != 0);
    }
    for (Word masks = 0; masks < kL * kL; ++masks) select(view, gamma, lambda, masks);
  }

  Triple triple_of(int which, Word masks, Word own_product) const {
    Triple t;
    t.a[own_.player] = own_.triple[which][0];
    t.b[own_.player] = own_.triple[which][1];
    t.a[other_] = masks % kL;
    t.b[other_] = masks / kL;
    t.c[own_.player] = own_product;
    t.c[other_] = ring((t.a[0] + t.a[1]) * (t.b[0] + t.b[1]) - own_product);
    return t;
  }

  void select(View view, const Word* gamma, const Word* lambda, Word masks) {
    Word product[2], opened_x[2], opened_y[2], bit[2];
    multiply(triple_of(0, masks, own_.product), gamma, lambda, product, opened_x, opened_y);
    view.add(opened_x[other_], kL);
    view.add(opened_y[other_], kL);
    for (int i = 0; i < 2; ++i) {
      bit[i] = ring((i == 0 ? 1 : 0) - (gamma[i] + lambda[i] - 2 * product[i]));
    }
    const bool positive = ring(2 * x_) < kL / 2;
    EXPECT_TRUE(mutant_ == Mutant::kNoX || ring(bit[0] + bit[1]) == (positive ? 1 : 0));
    for (Word other_masks = 0; other_masks < kL * kL; ++other_masks) {
      const bool twice = mutant_ == Mutant::kTripleTwice;
      for (Word c = 0; c < kL; ++c) {
        const Triple t = triple_of(twice ? 0 : 1, twice ? masks : other_masks, c);
        Word relu[2], e[2], f[2];
        multiply(t, x_share_, bit, relu, e, f);
        View all = view;
        all.add(e[other_], kL);
        all.add(f[other_], kL);
        all.add(relu[own_.player], kL);
        ++counts_[all.index()];
      }
    }
  }

  const Own& own_;
  int other_;
  Mutant mutant_;
  Word x_;
  Word x_share_[2] = {};
  Counts counts_;
};

/// Number `i` of many choices of what the player knows.
Own own_of(int player, Word i) {
  Own own;
  own.player = player;
  const auto take = [&i](Word radix) {
    const Word taken = i % radix;
    i /= radix;
    return taken;
  };
  own.share = take(kL);
  own.mask = {take(kL), take(kL), take(2) == 1};
  own.beta = take(2) == 1;
  own.dealt_x = take(kOddL);
  own.lowest = take(kL);
  own.wrapped = take(kOddL);
  own.eta1 = take(kOddL);
  own.gamma = take(kL);
  own.digits = take(kShares);
  own.product = take(kL);
  for (auto& masks : own.triple) {
    for (Word& mask : masks) mask = take(kL);
  }
  return own;
}

struct Learnt {
  bool depends_on_secret = false;
  bool uneven = false;  ///< some view is likelier than another
};

Learnt learns(int player, Word choice, Mutant mutant) {
  const Own own = own_of(player, choice);
  Learnt learnt;
  const Counts first = Faithful(own, 0, mutant).run();
  for (const std::uint32_t count : first) learnt.uneven = learnt.uneven || count != first[0];
  for (Word x = 1; x < kL; ++x) {
    learnt.depends_on_secret = learnt.depends_on_secret || Faithful(own, x, mutant).run() != first;
  }
  return learnt;
}

/// Choices that lie apart by a prime, so that all parts vary.
constexpr Word kApart = 7'368'787;

TEST(SecurennHolderViews, NeitherHolderLearnsFromTheFaithfulRelu) {
  for (const int player : {0, 1}) {
    const int choices =
        player == 0 ? testing::campaign_size(400, 20'000) : testing::campaign_size(4, 400);
    for (int i = 0; i < choices; ++i) {
      const Learnt learnt = learns(player, static_cast<Word>(i) * kApart, Mutant::kNone);
      ASSERT_FALSE(learnt.depends_on_secret) << player << ' ' << i;
      ASSERT_FALSE(learnt.uneven) << player << ' ' << i;
    }
  }
}

TEST(SecurennHolderViews, MutantsOfTheFaithfulReluAreCaught) {
  const auto caught = [](int player, Mutant mutant) {
    bool any = false;
    for (Word i = 0; i < 3 && !any; ++i) {
      any = learns(player, i * kApart, mutant).depends_on_secret;
    }
    return any;
  };
  for (const Mutant mutant : {Mutant::kPlainWrap, Mutant::kSameDraw}) {
    EXPECT_TRUE(caught(1, mutant)) << static_cast<int>(mutant);  // P0 draws, and receives nothing
  }
  for (const int player : {0, 1}) {
    EXPECT_TRUE(caught(player, Mutant::kNoX)) << player;
    EXPECT_TRUE(caught(player, Mutant::kTripleTwice)) << player;
  }
}

// ---- The fused ReLU, a ring of three bits, two of which are compared ----

using Ring3 = Formulas<3, 7>;

struct FusedViews {
  Counts seen;     ///< the other's share of c, and P1's of t and r t
  Counts results;  ///< the other's share of c, and the player's shares of both results
};

/// Views of a player with the share `own` of x and `own_r` of r; P0's draws are enumerated on both,
/// since they are uniform to P0 too.
FusedViews fused_views(int player, Word x, Word own, Word own_r, bool beta, Mutant mutant) {
  FusedViews views{Counts(512), Counts(512)};
  const auto mod8 = [](Word word) { return word & 7; };
  const auto other = static_cast<std::size_t>(1 - player);
  const auto me = static_cast<std::size_t>(player);
  Word share[2], r[2];
  share[me] = own;
  share[other] = mod8(x - own);
  r[me] = own_r;
  for (r[other] = 0; r[other] < 8; ++r[other]) {
    const Word masked[2] = {mod8(share[0] + r[0]), mod8(share[1] + r[1])};
    const Word c = mod8(masked[0] + masked[1]);
    const Word whole_r = mod8(r[0] + r[1]);
    const Word found = found_zero<F>(whole_r & 3, F::question(c & 3, false, beta));
    const Word t = found ^ (whole_r >> 2);
    for (Word draws = 0; draws < 64; ++draws) {
      const Word complete = mutant == Mutant::kPlainComplete ? 0 : draws / 8;
      const Word dealt_t[2] = {draws % 8, mod8(t - draws % 8)};
      const Word dealt_rt[2] = {complete, mod8(t * whole_r - complete)};
      const bool e = (c >> 2) == (beta ? 1 : 0);
      Word bit[2], relu[2];
      for (std::size_t i = 0; i < 2; ++i) {
        bit[i] = Ring3::xor_public(static_cast<int>(i), dealt_t[i], e);
        relu[i] = mod8(c * bit[i] - (e ? r[i] - dealt_rt[i] : dealt_rt[i]));
      }
      const Word positive = x < 4 ? 1 : 0;
      EXPECT_EQ(mod8(bit[0] + bit[1]), positive);
      EXPECT_EQ(mod8(relu[0] + relu[1]), positive * x);
      View seen, results;
      for (View* view : {&seen, &results}) view->add(masked[other], 8);
      seen.add(player == 1 ? dealt_t[1] : dealt_t[0], 8);
      seen.add(player == 1 ? dealt_rt[1] : dealt_rt[0], 8);
      results.add(bit[me], 8);
      results.add(relu[me], 8);
      ++views.seen[seen.index()];
      ++views.results[results.index()];
    }
  }
  return views;
}

TEST(SecurennHolderViews, NeitherHolderLearnsFromTheFusedRelu) {
  const Counts even(512, 1);
  bool caught = false;
  for (const int player : {0, 1}) {
    for (Word i = 0; i < 8 * 8 * 2; ++i) {
      for (Word x = 0; x < 8; ++x) {
        const Word own = i % 8, own_r = i / 8 % 8;
        const FusedViews views = fused_views(player, x, own, own_r, i / 64 == 1, Mutant::kNone);
        ASSERT_EQ(views.seen, even) << player << ' ' << i << ' ' << x;
        ASSERT_EQ(views.results, even) << player << ' ' << i << ' ' << x;
        const auto plain = [&](Word secret) {
          return fused_views(player, secret, own, own_r, i / 64 == 1, Mutant::kPlainComplete).seen;
        };
        caught = caught || (player == 1 && plain(x) != plain(0));
      }
    }
  }
  EXPECT_TRUE(caught);
}

}  // namespace
}  // namespace beaverpond::securenn
