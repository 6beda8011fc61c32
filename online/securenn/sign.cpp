// P0's and P1's side.
#include "online/securenn/sign.h"

#include "offline/plan/entry_layout.h"

namespace beaverpond::securenn {
namespace {

/// out = the other's words, which P2 may see.
Result<void> open_words(Party& party, ConstWords mine, Words theirs) {
  party.link.open(mine, theirs);
  return party.link.finish();
}

/// One round: P0 and P1 send their terms to P2.
Result<void> send_comparison(Party& party, PrivateComparison comparison) {
  const std::uint64_t count = comparison.bound.size();
  comparison.player = party.link.rank();
  comparison.common = party.common->digits(count);
  BP_ASSIGN(const Bytes terms, party.scratch.digits(Scratch::kSent, count));
  party.device().compare(comparison, terms, kHostStream);
  party.link.send(kAssistant, ConstBytes(terms));
  return party.link.finish();
}

/// One round: this player's share of words that P2 deals. P0 draws its own.
Result<void> receive_words(Party& party, Words out, bool odd) {
  if (party.link.rank() != 0) {
    party.link.receive(kAssistant, out);
  } else if (odd) {
    party.device().odd_fill(party.dealt->words(), out, kHostStream);
  } else {
    party.fill(*party.dealt, out);
  }
  return party.link.finish();
}

/// ShareConvert of 2x, four rounds: a share of it mod 2^64 - 1.
Result<void> convert_double(Party& party, ConstWords x, Words y) {
  const int player = party.link.rank();
  const std::uint64_t n = x.size();
  SecurennBackend& device = party.device();
  BP_ASSIGN(const Words common, party.scratch.words(Scratch::kCommon, 2 * n + blocks_of(n)));
  party.fill(*party.common, common);
  const Words r0 = common.first(n);
  const Words r1 = common.subspan(n, n);
  const Words eta2 = common.subspan(2 * n);
  const Words mine = player == 0 ? r0 : r1;
  BP_ASSIGN(const Words masked, party.scratch.words(Scratch::kX, n));
  device.run(MaskDouble{x.data(), mine.data(), masked.data()}, n, kHostStream);
  party.link.send(kAssistant, ConstWords(masked));
  BP_TRY(party.link.finish());

  BP_ASSIGN(const Bytes digits, party.scratch.digits(Scratch::kReceived, n));
  BP_ASSIGN(const Words wrapped, party.scratch.words(Scratch::kLowest, n));
  if (player == 0) {
    device.draw_digits(party.dealt->digits(n), digits, kHostStream);
  } else {
    party.link.receive(kAssistant, digits);
  }
  BP_TRY(receive_words(party, wrapped, true));

  BP_ASSIGN(const Words r, party.scratch.words(Scratch::kTheirs, n));
  party.backend().add(r0, r1, r, kHostStream);
  BP_TRY(send_comparison(party,
                         {.at_least = true, .x = digits, .bound = r, .beta = eta2, .common = {}}));

  BP_ASSIGN(const Words eta1, party.scratch.words(Scratch::kMask, n));
  BP_TRY(receive_words(party, eta1, true));
  device.run(FinishConvert{player, x.data(), r0.data(), r1.data(), eta2.data(), wrapped.data(),
                           eta1.data(), y.data()},
             n, kHostStream);
  return {};
}

/// 1 - ComputeMSB of y, shared mod 2^64 - 1; four rounds. y is overwritten.
Result<void> compute_not_msb(Party& party, const SignMaterial& material, Words y, Words out) {
  const int player = party.link.rank();
  const std::uint64_t n = y.size();
  SecurennBackend& device = party.device();
  BP_ASSIGN(const Words x, party.scratch.words(Scratch::kMask, n));
  BP_ASSIGN(const Words lambda, party.scratch.words(Scratch::kLowest, n));
  BP_ASSIGN(const Bytes memory, party.scratch.digits(Scratch::kReceived, n));
  const ConstBytes digits =
      device.read_sign(SignKind::kConverted, material.sign, {x, lambda, memory}, kHostStream);

  BP_ASSIGN(const Words r, party.scratch.words(Scratch::kTheirs, n));
  device.run(MaskOddDouble{x.data(), y.data()}, n, kHostStream);
  BP_TRY(open_words(party, y, r));
  device.run(AddOdd{y.data(), r.data()}, n, kHostStream);

  BP_ASSIGN(const Words beta, party.scratch.words(Scratch::kCommon, blocks_of(n)));
  party.fill(*party.common, beta);
  BP_TRY(send_comparison(party, {.x = digits, .bound = r, .beta = beta, .common = {}}));

  const Words gamma = y;
  BP_TRY(receive_words(party, gamma, false));
  device.run(FlipBits{player, beta.data(), r.data(), gamma.data(), lambda.data()}, n, kHostStream);
  BP_TRY(multiply(party, material.xor_triple, gamma, lambda, out));
  device.run(NotXor{player, gamma.data(), lambda.data(), out.data()}, n, kHostStream);
  return {};
}

}  // namespace

Result<void> multiply(Party& party, const Material& triple, ConstWords x, ConstWords y,
                      Words product) {
  const std::uint64_t n = x.size();
  Backend& backend = party.backend();
  BP_ASSIGN(const Words masks, party.scratch.words(Scratch::kTriple, triple_mask_words(n)));
  BP_ASSIGN(const Words mine, party.scratch.words(Scratch::kSent, 2 * n));
  BP_ASSIGN(const Words theirs, party.scratch.words(Scratch::kReceived, 2 * n));
  backend.prg_fill(*triple.seed, triple.prg, triple.mask_stream, 0, bytes_of(masks), kHostStream);
  const Words a = masks.first(n);
  const Words b = masks.last(n);
  backend.subtract(x, a, mine.first(n), kHostStream);
  backend.subtract(y, b, mine.last(n), kHostStream);
  BP_TRY(open_words(party, mine, theirs));
  party.device().read_correction(triple, product, kHostStream);
  party.device().run(FinishTriple{triple.designated, n, a.data(), b.data(), mine.data(),
                                  theirs.data(), product.data()},
                     n, kHostStream);
  return {};
}

Result<void> derivative_of_relu(Party& party, const SignMaterial& material, ConstWords x,
                                Words bit) {
  BP_ASSIGN(const Words y, party.scratch.words(Scratch::kY, x.size()));
  BP_TRY(convert_double(party, x, y));
  return compute_not_msb(party, material, y, bit);
}

Result<void> fused_relu(Party& party, const Material& sign, ConstWords x, Words relu, Words bit) {
  const int player = party.link.rank();
  const std::uint64_t n = x.size();
  BP_ASSIGN(const Words r, party.scratch.words(Scratch::kMask, n));
  BP_ASSIGN(const Bytes memory, party.scratch.digits(Scratch::kReceived, n));
  const ConstBytes digits =
      party.device().read_sign(SignKind::kOpened, sign, {{}, r, memory}, kHostStream);

  BP_ASSIGN(const Words c, party.scratch.words(Scratch::kX, n));
  BP_ASSIGN(const Words theirs, party.scratch.words(Scratch::kTheirs, n));
  party.backend().add(x, r, c, kHostStream);
  party.link.send(party.link.peer(), ConstWords(c));  // P2 knows r, so that it must not see c
  party.link.receive(party.link.peer(), theirs);
  BP_TRY(party.link.finish());
  party.backend().add(c, theirs, c, kHostStream);

  BP_ASSIGN(const Words beta, party.scratch.words(Scratch::kCommon, blocks_of(n)));
  party.fill(*party.common, beta);
  BP_TRY(send_comparison(party, {.bits = 63, .x = digits, .bound = c, .beta = beta, .common = {}}));

  BP_ASSIGN(const Words dealt, party.scratch.words(Scratch::kTriple, 2 * n));
  BP_TRY(receive_words(party, dealt, false));
  party.device().run(FinishFused{player, n, c.data(), beta.data(), r.data(), dealt.data(),
                                 relu.data(), bit.data()},
                     n, kHostStream);
  return {};
}

}  // namespace beaverpond::securenn
