#include "kernels/securenn/material.h"

#include <algorithm>
#include <cstring>

#include "kernels/securenn/digits.h"

namespace beaverpond::securenn {
namespace {

/// Elements dealt at a time: what is between the streams and the correction stays in the cache.
constexpr std::uint64_t kPiece = 1024;
static_assert(kPiece % kBlockElements == 0);

void fill(const Prg& prg, std::uint64_t stream, std::uint64_t first, Words out) {
  prg.fill(stream, first * 8, bytes_of(out));
}

}  // namespace

void deal_sign(const SignDeal& deal) {
  const Prg first(deal.seeds[0], deal.prg);
  const Prg second(deal.seeds[1], deal.prg);
  const Prg assistant(deal.seeds[2], deal.prg);
  const Prg& other = deal.designated == 0 ? second : first;
  const bool converted = deal.kind == SignKind::kConverted;
  std::uint64_t x[kPiece], share[kPiece];
  for (std::uint64_t at = 0; at < deal.count; at += kPiece) {
    const std::uint64_t n = std::min(kPiece, deal.count - at);
    const Words masks(x, n), shares(share, n);
    if (converted) {
      fill(first, deal.mask_stream, at, masks);
      fill(second, deal.mask_stream, at, shares);
      for (std::uint64_t i = 0; i < n; ++i) {
        x[i] = Product::odd_add(Product::odd_reduce(x[i]), Product::odd_reduce(share[i]));
      }
      fill(other, deal.correction_stream, at, shares);
    } else {
      fill(assistant, deal.mask_stream, at, masks);
      fill(other, deal.mask_stream, at, shares);
    }
    for (std::uint64_t i = 0; i < n; ++i) share[i] = (converted ? x[i] & 1 : x[i]) - share[i];
    std::memcpy(deal.correction.data() + at * 8, share, n * 8);
    digit_kernels().share_bits(
        masks, sign_bits(deal.kind),
        {&other, digit_stream(deal.correction_stream) + at / kBlockElements},
        deal.correction.subspan(deal.count * 8 + packed_bytes(at), packed_bytes(n)));
  }
  explicit_bzero(x, sizeof x);
  explicit_bzero(share, sizeof share);
}

ConstBytes read_sign(SignKind kind, const Material& material, const SignShares& out) {
  const Prg prg(*material.seed, material.prg);
  if (kind == SignKind::kConverted) {
    fill(prg, material.mask_stream, 0, out.mask);
    for (std::uint64_t& word : out.mask) word = Product::odd_reduce(word);
  }
  if (material.correction != nullptr) {
    std::memcpy(out.words.data(), material.correction, out.words.size_bytes());
    return {material.correction + out.words.size_bytes(), out.memory.size()};
  }
  const bool converted = kind == SignKind::kConverted;
  fill(prg, converted ? material.correction_stream : material.mask_stream, 0, out.words);
  digit_kernels().draw({&prg, digit_stream(material.correction_stream)}, out.memory);
  return out.memory;
}

}  // namespace beaverpond::securenn
