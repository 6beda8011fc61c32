// P2's side. It sees masked words, blinded digits, and the bits that P0 and P1 flipped.
#include "kernels/securenn/digits.h"
#include "online/securenn/sign.h"

namespace beaverpond::securenn {
namespace {

using Word = std::uint64_t;
using Byte = std::span<std::uint8_t>;

Word bit_at(ConstWords packed, std::uint64_t i) {
  return (packed[i / 64] >> (i % 64)) & 1;
}

/// One round in which P2 has no part.
Result<void> pass(Party& party) {
  return party.link.finish();
}

/// One round: whether P0's and P1's terms have a zero, element by element, packed.
Result<Words> receive_comparison(Party& party, std::uint64_t count) {
  BP_ASSIGN(const Byte of_p0, party.scratch.digits(Scratch::kReceived, count));
  BP_ASSIGN(const Byte of_p1, party.scratch.digits(Scratch::kTheirs, count));
  BP_ASSIGN(const Words found, party.scratch.words(Scratch::kBit, blocks_of(count)));
  party.link.receive(0, of_p0);
  party.link.receive(1, of_p1);
  BP_TRY(party.link.finish());
  digit_kernels().find_zero(of_p0, of_p1, found);
  return found;
}

/// Words are dealt as P1's share: what P0 draws is taken away. Sent in the round that follows.
void deal(Party& party, Words words, Words drawn, bool odd) {
  party.dealt->fill(drawn);
  for (std::uint64_t i = 0; i < words.size(); ++i) {
    words[i] = odd ? Product::odd_subtract(words[i], Product::odd_reduce(drawn[i]))
                   : words[i] - drawn[i];
  }
  party.link.send(1, ConstWords(words));
}

/// One round: deals bits, one a word.
Result<void> deal_bits(Party& party, ConstWords packed, std::uint64_t count, bool odd) {
  BP_ASSIGN(const Words words, party.scratch.words(Scratch::kSent, count));
  BP_ASSIGN(const Words drawn, party.scratch.words(Scratch::kCommon, count));
  for (std::uint64_t i = 0; i < count; ++i) words[i] = bit_at(packed, i);
  deal(party, words, drawn, odd);
  return party.link.finish();
}

Result<void> assist_convert(Party& party, std::uint64_t count) {
  BP_ASSIGN(const Words sum, party.scratch.words(Scratch::kX, count));
  BP_ASSIGN(const Words other, party.scratch.words(Scratch::kY, count));
  party.link.receive(0, sum);
  party.link.receive(1, other);
  BP_TRY(party.link.finish());

  BP_ASSIGN(const Words wrapped, party.scratch.words(Scratch::kLowest, count));
  for (std::uint64_t i = 0; i < count; ++i) {
    const Product::ConvertSum made = Product::convert_sum(sum[i], other[i]);
    sum[i] = made.sum;
    wrapped[i] = made.wrapped;
  }
  BP_ASSIGN(const Byte digits, party.scratch.digits(Scratch::kSent, count));
  digit_kernels().share_bits(sum, 64, party.dealt->draw(count), digits);
  party.link.send(1, std::span<const std::uint8_t>(digits));
  deal(party, wrapped, other, true);
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
  BP_ASSIGN(const Words drawn, party.scratch.words(Scratch::kCommon, 2 * count));
  for (std::uint64_t i = 0; i < count; ++i) {
    words[i] = bit_at(found, i) ^ (mask[i] >> 63);
    words[count + i] = words[i] * mask[i];
  }
  deal(party, words, drawn, false);
  return party.link.finish();
}

}  // namespace beaverpond::securenn
