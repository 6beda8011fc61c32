#include "online/securenn/party.h"

#include "kernels/cpu/prg.h"

namespace beaverpond::securenn {
namespace {

// Streams of a pair's key that neither inputs (below 2^63) nor reveals take (online/protocol,
// Sharing): those of states end below 3 * 2^62 + 2^32.
constexpr std::uint64_t kWordsKey = (std::uint64_t{3} << 62) + (std::uint64_t{1} << 40);
constexpr std::uint64_t kDigitsKey = kWordsKey + 1;

Seed derive(const Seed& key, std::uint64_t stream) {
  Seed seed;
  Prg(key, PrgKind::kChaCha20).fill(stream, 0, seed.mutable_bytes());
  return seed;
}

}  // namespace

CommonStreams::CommonStreams(const Seed& key, PrgKind prg)
    : words_(derive(key, kWordsKey)), digits_(derive(key, kDigitsKey)), prg_(prg) {}

StreamOf CommonStreams::digits(std::uint64_t count) {
  const StreamOf of{&digits_, prg_, next_digits_};
  next_digits_ += blocks_of(count);
  return of;
}

Result<void> grow(Backend& backend, Buffer& buffer, std::uint64_t count) {
  if (buffer.words().size() >= count) return {};
  if (!buffer.empty()) {
    BP_TRY(backend.synchronize(kHostStream));  // who uses it is done
    buffer = Buffer();                         // first, so that both need not fit
  }
  BP_ASSIGN(buffer, backend.allocate(bytes_of_words(ElementCount{count})));
  return {};
}

Result<Words> Scratch::words(Purpose purpose, std::uint64_t count) {
  Buffer& buffer = buffers_[purpose];
  BP_TRY(grow(backend_, buffer, count));
  return buffer.words().first(count);
}

Result<Bytes> Scratch::digits(Purpose purpose, std::uint64_t elements) {
  BP_ASSIGN(const Words memory, words(purpose, packed_bytes(elements) / 8));
  return bytes_of(memory);
}

}  // namespace beaverpond::securenn
