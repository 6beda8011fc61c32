// P0's and P1's side.
#include "online/securenn/sign.h"

#include <cstring>

#include "kernels/securenn/digits.h"
#include "kernels/securenn/material.h"
#include "offline/plan/entry_layout.h"

namespace beaverpond::securenn {
namespace {

using Word = std::uint64_t;
using Byte = std::span<std::uint8_t>;

bool bit_at(ConstWords packed, std::uint64_t i) {
  return ((packed[i / 64] >> (i % 64)) & 1) != 0;
}

/// out = the other's words.
Result<void> swap_words(Party& party, ConstWords mine, Words theirs) {
  party.link.send(party.link.peer(), mine);
  party.link.receive(party.link.peer(), theirs);
  return party.link.finish();
}

/// One round: P0 and P1 send their terms to P2.
Result<void> send_comparison(Party& party, Comparison comparison) {
  const std::uint64_t count = comparison.bound.size();
  comparison.player = party.link.rank();
  comparison.common = party.common->draw(count);
  BP_ASSIGN(const Byte terms, party.scratch.digits(Scratch::kSent, count));
  digit_kernels().compare(comparison, terms);
  party.link.send(kAssistant, std::span<const std::uint8_t>(terms));
  return party.link.finish();
}

/// One round: this player's share of words that P2 deals. P0 draws its own.
Result<void> receive_words(Party& party, Words out, bool odd) {
  if (party.link.rank() == 0) {
    party.dealt->fill(out);
    for (Word& word : out) word = odd ? Product::odd_reduce(word) : word;
  } else {
    party.link.receive(kAssistant, out);
  }
  return party.link.finish();
}

/// ShareConvert of 2x, four rounds: a share of it mod 2^64 - 1.
Result<void> convert_double(Party& party, ConstWords x, Words y) {
  const int player = party.link.rank();
  const std::uint64_t n = x.size();
  BP_ASSIGN(const Words common, party.scratch.words(Scratch::kCommon, 2 * n + blocks_of(n)));
  party.common->fill(common);
  const Words r0 = common.first(n);
  const Words r1 = common.subspan(n, n);
  const Words eta2 = common.subspan(2 * n);
  const Words mine = player == 0 ? r0 : r1;
  BP_ASSIGN(const Words masked, party.scratch.words(Scratch::kX, n));
  for (std::uint64_t i = 0; i < n; ++i) masked[i] = 2 * x[i] + mine[i];
  party.link.send(kAssistant, ConstWords(masked));
  BP_TRY(party.link.finish());

  BP_ASSIGN(const Byte digits, party.scratch.digits(Scratch::kReceived, n));
  BP_ASSIGN(const Words wrapped, party.scratch.words(Scratch::kLowest, n));
  if (player == 0) {
    digit_kernels().draw(party.dealt->draw(n), digits);
  } else {
    party.link.receive(kAssistant, digits);
  }
  BP_TRY(receive_words(party, wrapped, true));

  BP_ASSIGN(const Words r, party.scratch.words(Scratch::kTheirs, n));
  for (std::uint64_t i = 0; i < n; ++i) r[i] = r0[i] + r1[i];
  BP_TRY(send_comparison(party,
                         {.at_least = true, .x = digits, .bound = r, .beta = eta2, .common = {}}));

  BP_ASSIGN(const Words eta1, party.scratch.words(Scratch::kMask, n));
  BP_TRY(receive_words(party, eta1, true));
  for (std::uint64_t i = 0; i < n; ++i) {
    const Product::ConvertMask mask{r0[i], r1[i], bit_at(eta2, i)};
    y[i] = Product::convert_finish(player, 2 * x[i], mask, wrapped[i], eta1[i]);
  }
  return {};
}

/// ComputeMSB of y, shared mod 2^64 - 1; four rounds. y is overwritten.
Result<void> compute_msb(Party& party, const SignMaterial& material, Words y, Words msb) {
  const int player = party.link.rank();
  const std::uint64_t n = y.size();
  BP_ASSIGN(const Words x, party.scratch.words(Scratch::kMask, n));
  BP_ASSIGN(const Words lambda, party.scratch.words(Scratch::kLowest, n));
  BP_ASSIGN(const Byte memory, party.scratch.digits(Scratch::kReceived, n));
  const auto digits = read_sign(SignKind::kConverted, material.sign, {x, lambda, memory});

  BP_ASSIGN(const Words r, party.scratch.words(Scratch::kTheirs, n));
  for (std::uint64_t i = 0; i < n; ++i) {
    y[i] = Product::odd_add(Product::odd_add(y[i], y[i]), x[i]);
  }
  BP_TRY(swap_words(party, y, r));
  for (std::uint64_t i = 0; i < n; ++i) r[i] = Product::odd_add(r[i], y[i]);

  BP_ASSIGN(const Words beta, party.scratch.words(Scratch::kCommon, blocks_of(n)));
  party.common->fill(beta);
  BP_TRY(send_comparison(party, {.x = digits, .bound = r, .beta = beta, .common = {}}));

  const Words gamma = y;
  BP_TRY(receive_words(party, gamma, false));
  for (std::uint64_t i = 0; i < n; ++i) {
    gamma[i] = Product::xor_public(player, gamma[i], bit_at(beta, i));
    lambda[i] = Product::xor_public(player, lambda[i], (r[i] & 1) != 0);
  }
  BP_TRY(multiply(party, material.xor_triple, gamma, lambda, msb));
  for (std::uint64_t i = 0; i < n; ++i) msb[i] = gamma[i] + lambda[i] - 2 * msb[i];
  return {};
}

}  // namespace

Result<void> multiply(Party& party, const Material& triple, ConstWords x, ConstWords y,
                      Words product) {
  const std::uint64_t n = x.size();
  BP_ASSIGN(const Words masks, party.scratch.words(Scratch::kTriple, triple_mask_words(n)));
  BP_ASSIGN(const Words mine, party.scratch.words(Scratch::kSent, 2 * n));
  BP_ASSIGN(const Words theirs, party.scratch.words(Scratch::kReceived, 2 * n));
  const Prg prg(*triple.seed, triple.prg);
  prg.fill(triple.mask_stream, 0, bytes_of(masks));
  const Words a = masks.first(n);
  const Words b = masks.last(n);
  for (std::uint64_t i = 0; i < n; ++i) mine[i] = x[i] - a[i];
  for (std::uint64_t i = 0; i < n; ++i) mine[n + i] = y[i] - b[i];
  BP_TRY(swap_words(party, mine, theirs));
  if (triple.correction == nullptr) {
    prg.fill(triple.correction_stream, 0, bytes_of(product));
  } else {
    std::memcpy(product.data(), triple.correction, product.size_bytes());
  }
  const Word designated = triple.designated ? ~Word{0} : 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    const Word e = mine[i] + theirs[i];
    const Word f = mine[n + i] + theirs[n + i];
    product[i] += e * (b[i] + (f & designated)) + a[i] * f;
  }
  return {};
}

Result<void> derivative_of_relu(Party& party, const SignMaterial& material, ConstWords x,
                                Words bit) {
  BP_ASSIGN(const Words y, party.scratch.words(Scratch::kY, x.size()));
  BP_TRY(convert_double(party, x, y));
  BP_TRY(compute_msb(party, material, y, bit));
  const Word one = party.link.rank() == 0 ? 1 : 0;
  for (Word& share : bit) share = one - share;
  return {};
}

Result<void> fused_relu(Party& party, const Material& sign, ConstWords x, Words relu, Words bit) {
  const int player = party.link.rank();
  const std::uint64_t n = x.size();
  BP_ASSIGN(const Words r, party.scratch.words(Scratch::kMask, n));
  BP_ASSIGN(const Byte memory, party.scratch.digits(Scratch::kReceived, n));
  const auto digits = read_sign(SignKind::kOpened, sign, {{}, r, memory});

  BP_ASSIGN(const Words c, party.scratch.words(Scratch::kX, n));
  BP_ASSIGN(const Words theirs, party.scratch.words(Scratch::kTheirs, n));
  for (std::uint64_t i = 0; i < n; ++i) c[i] = x[i] + r[i];
  BP_TRY(swap_words(party, c, theirs));
  for (std::uint64_t i = 0; i < n; ++i) c[i] += theirs[i];

  BP_ASSIGN(const Words beta, party.scratch.words(Scratch::kCommon, blocks_of(n)));
  party.common->fill(beta);
  BP_TRY(send_comparison(party, {.bits = 63, .x = digits, .bound = c, .beta = beta, .common = {}}));

  BP_ASSIGN(const Words dealt, party.scratch.words(Scratch::kTriple, 2 * n));
  BP_TRY(receive_words(party, dealt, false));
  for (std::uint64_t i = 0; i < n; ++i) {
    const bool e = ((c[i] >> 63) & 1) == (bit_at(beta, i) ? 1 : 0);  // 1 ^ c63 ^ beta
    const Word t = dealt[i];
    const Word rt = dealt[n + i];
    bit[i] = Product::xor_public(player, t, e);
    const Word all = Word{0} - static_cast<Word>(e);      // e is P2's no more than a branch on it
    const Word masked = (rt ^ all) - all + (r[i] & all);  // r bit: rt, or r - rt where e
    relu[i] = c[i] * bit[i] - masked;
  }
  return {};
}

}  // namespace beaverpond::securenn
