// What a player of SecureNN shares with whom: streams for blinding and for what the assistant
// deals, fresh for every session.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "kernels/backend.h"
#include "kernels/securenn/digits.h"
#include "online/securenn/link.h"
#include "online/session/pair_keys.h"

namespace beaverpond::securenn {

/// Streams that two players expand alike: one of words, one of digits. Every use takes new ones, in
/// the order of the program, so that both are always at the same.
class CommonStreams {
 public:
  /// `key` is used for nothing else but sharing inputs and re-randomising what is revealed, which
  /// take other streams of it.
  CommonStreams(const Seed& key, PrgKind prg);

  /// out = the next words.
  void fill(Words out);
  /// The next digits, for `count` elements.
  Draw draw(std::uint64_t count);

 private:
  std::unique_ptr<Prg> words_;
  std::unique_ptr<Prg> digits_;
  std::uint64_t next_words_ = 0;
  std::uint64_t next_digits_ = 0;
};

/// Memory that operations reuse, by purpose; grows, and is wiped at its end.
class Scratch {
 public:
  enum Purpose : std::uint8_t {
    kX, kY, kMask, kLowest, kCommon, kSent, kReceived, kTheirs, kTriple, kBit, kPurposes
  };
  explicit Scratch(Backend& backend) : backend_(backend) {}
  /// Contents are what the last use left. Errors: kOutOfMemory.
  Result<Words> words(Purpose purpose, std::uint64_t count);
  Result<std::span<std::uint8_t>> digits(Purpose purpose, std::uint64_t elements);

 private:
  Backend& backend_;
  std::array<Buffer, kPurposes> buffers_;
};

/// What the two sides of a protocol need.
struct Party {
  Link& link;
  Scratch& scratch;
  CommonStreams* common = nullptr;  ///< of P0 and P1; null on P2
  CommonStreams* dealt = nullptr;   ///< P0's shares of what P2 deals; null on P1
};

}  // namespace beaverpond::securenn
