#include "online/securenn/party.h"

namespace beaverpond::securenn {
namespace {

// Streams of a pair's key that neither inputs (below 2^63) nor reveals take (online/protocol,
// Sharing): those of states end below 3 * 2^62 + 2^32.
constexpr std::uint64_t kWordsKey = (std::uint64_t{3} << 62) + (std::uint64_t{1} << 40);
constexpr std::uint64_t kDigitsKey = kWordsKey + 1;

std::unique_ptr<Prg> derive(const Seed& key, std::uint64_t stream, PrgKind kind) {
  Seed seed;
  Prg(key, PrgKind::kChaCha20).fill(stream, 0, seed.mutable_bytes());
  return std::make_unique<Prg>(seed, kind);
}

}  // namespace

CommonStreams::CommonStreams(const Seed& key, PrgKind prg)
    : words_(derive(key, kWordsKey, prg)), digits_(derive(key, kDigitsKey, prg)) {}

void CommonStreams::fill(Words out) {
  words_->fill(next_words_++, 0, bytes_of(out));
}

Draw CommonStreams::draw(std::uint64_t count) {
  const Draw draw{digits_.get(), next_digits_};
  next_digits_ += blocks_of(count);
  return draw;
}

Result<Words> Scratch::words(Purpose purpose, std::uint64_t count) {
  Buffer& buffer = buffers_[purpose];
  if (buffer.words().size() < count) {
    buffer = Buffer();
    BP_ASSIGN(buffer, backend_.allocate(bytes_of_words(ElementCount{count})));
  }
  return buffer.words().first(count);
}

Result<std::span<std::uint8_t>> Scratch::digits(Purpose purpose, std::uint64_t elements) {
  BP_ASSIGN(const Words memory, words(purpose, packed_bytes(elements) / 8));
  return bytes_of(memory);
}

}  // namespace beaverpond::securenn
