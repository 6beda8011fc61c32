// P2's side. It sees masked words, blinded digits, and the bits that P0 and P1 flipped.
#include "online/securenn/sign.h"

namespace beaverpond::securenn {
namespace {

/// One round in which P2 has no part.
Result<void> pass(Party& party) {
  return party.link.finish();
}

/// One round: whether P0's and P1's terms have a zero, element by element, packed.
Result<Words> receive_comparison(Party& party, std::uint64_t count) {
  BP_ASSIGN(const Bytes of_p0, party.scratch.digits(Scratch::kReceived, count));
  BP_ASSIGN(const Bytes of_p1, party.scratch.digits(Scratch::kTheirs, count));
  BP_ASSIGN(const Words found, party.scratch.words(Scratch::kBit, blocks_of(count)));
  party.link.receive(0, of_p0);
  party.link.receive(1, of_p1);
  BP_TRY(party.link.finish());
  party.device().find_zero(of_p0, of_p1, found, kHostStream);
  return found;
}

/// Words are dealt as P1's share: what P0 draws is taken away. Sent in the round that follows.
void deal(Party& party, Words words, bool odd) {
  const StreamOf of = party.dealt->words();
  if (odd) {
    party.device().odd_subtract(of, words, kHostStream);
  } else {
    party.backend().prg_subtract(*of.seed, of.prg, of.index, words, kHostStream);
  }
  party.link.send(1, ConstWords(words));
}

/// One round: deals bits, one a word.
Result<void> deal_bits(Party& party, ConstWords packed, std::uint64_t count, bool odd) {
  BP_ASSIGN(const Words words, party.scratch.words(Scratch::kSent, count));
  party.device().run(SpreadBits{packed.data(), words.data()}, count, kHostStream);
  deal(party, words, odd);
  return party.link.finish();
}

Result<void> assist_convert(Party& party, std::uint64_t count) {
  BP_ASSIGN(const Words sum, party.scratch.words(Scratch::kX, count));
  BP_ASSIGN(const Words other, party.scratch.words(Scratch::kY, count));
  party.link.receive(0, sum);
  party.link.receive(1, other);
  BP_TRY(party.link.finish());

  BP_ASSIGN(const Words wrapped, party.scratch.words(Scratch::kLowest, count));
  party.device().run(ConvertSum{other.data(), sum.data(), wrapped.data()}, count, kHostStream);
  BP_ASSIGN(const Bytes digits, party.scratch.digits(Scratch::kSent, count));
  party.device().share_bits(sum, 64, party.dealt->digits(count), digits, kHostStream);
  party.link.send(1, ConstBytes(digits));
  deal(party, wrapped, true);
  BP_TRY(party.link.finish());

  BP_ASSIGN(const Words found, receive_comparison(party, count));
  return deal_bits(party, found, count, true);
}

}  // namespace

Result<void> assist_derivative_of_relu(Party& party, std::uint64_t count) {
  BP_TRY(assist_convert(party, count));
  BP_TRY(pass(party));  // r is opened
  BP_ASSIGN(const Words found, receive_comparison(party, count));
  BP_TRY(deal_bits(party, found, count, false));
  return pass(party);  // the product of gamma and lambda
}

Result<void> assist_fused_relu(Party& party, ConstWords mask) {
  const std::uint64_t count = mask.size();
  BP_TRY(pass(party));  // c is opened
  BP_ASSIGN(const Words found, receive_comparison(party, count));
  BP_ASSIGN(const Words words, party.scratch.words(Scratch::kSent, 2 * count));
  party.device().run(DealFused{count, found.data(), mask.data(), words.data()}, count, kHostStream);
  deal(party, words, false);
  return party.link.finish();
}

}  // namespace beaverpond::securenn
