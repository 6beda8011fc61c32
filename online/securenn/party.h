// What a player of SecureNN shares with whom: streams for blinding and for what the assistant
// deals, fresh for every session.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/securenn_backend.h"
#include "online/securenn/link.h"
#include "online/session/pair_keys.h"

namespace beaverpond::securenn {

/// Streams that two players expand alike: some of words, others of digits. Every use takes new
/// ones, in the order of the program, so that both are always at the same.
class CommonStreams {
 public:
  /// `key` is used for nothing else but sharing inputs and re-randomising what is revealed, which
  /// take other streams of it.
  CommonStreams(const Seed& key, PrgKind prg);

  /// The next stream of words.
  StreamOf words() { return {&words_, prg_, next_words_++}; }
  /// The next streams of digits, for `count` elements.
  StreamOf digits(std::uint64_t count);

 private:
  Seed words_;
  Seed digits_;
  PrgKind prg_;
  std::uint64_t next_words_ = 0;
  std::uint64_t next_digits_ = 0;
};

/// Memory of the backend with room for `count` words; contents are lost where it grows. Errors:
/// those of the backend.
Result<void> grow(Backend& backend, Buffer& buffer, std::uint64_t count);

/// Memory that operations reuse, by purpose; grows, and is wiped at its end.
class Scratch {
 public:
  enum Purpose : std::uint8_t {
    kX,
    kY,
    kMask,
    kLowest,
    kCommon,
    kSent,
    kReceived,
    kTheirs,
    kTriple,
    kBit,
    kPurposes
  };
  explicit Scratch(Backend& backend) : backend_(backend) {}
  /// Contents are what the last use left. Errors: kOutOfMemory.
  Result<Words> words(Purpose purpose, std::uint64_t count);
  Result<Bytes> digits(Purpose purpose, std::uint64_t elements);
  Backend& backend() const { return backend_; }

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

  Backend& backend() const { return scratch.backend(); }
  SecurennBackend& device() const { return backend().securenn(); }
  /// out = the next words of `streams`.
  void fill(CommonStreams& streams, Words out) const {
    const StreamOf of = streams.words();
    backend().prg_fill(*of.seed, of.prg, of.index, 0, bytes_of(out), kHostStream);
  }
};

}  // namespace beaverpond::securenn
