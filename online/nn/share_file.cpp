#include "online/nn/share_file.h"

#include <strings.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "offline/plan/file.h"
#include "offline/plan/hash.h"

namespace beaverpond {
namespace {

constexpr char kMagic[8] = {'B', 'P', 'S', 'H', 'A', 'R', 'E', '1'};
constexpr std::size_t kHeaderBytes = 24;
constexpr std::size_t kHashBytes = sizeof(Hash256);

void put(std::string& out, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

std::uint64_t get(std::span<const std::uint8_t> bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value |= std::uint64_t{bytes[at + i]} << (8 * i);
  return value;
}

/// Wipes the bytes of a buffer that held shares when it goes out of scope, whatever the way out.
template <class Buffer>
class Wiped {
 public:
  explicit Wiped(Buffer& buffer) : buffer_(buffer) {}
  Wiped(const Wiped&) = delete;             // one buffer, one wipe
  Wiped& operator=(const Wiped&) = delete;  // one buffer, one wipe
  ~Wiped() {
    if (!buffer_.empty()) explicit_bzero(buffer_.data(), buffer_.size());
  }

 private:
  Buffer& buffer_;
};

std::span<const std::uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

Result<void> write_shares(const WeightShares& shares, const std::string& path) {
  std::vector<std::uint8_t> tensors = encode_weights(shares.tensors);
  const Wiped wiped_tensors(tensors);
  std::string out(kMagic, sizeof kMagic);
  // Never moved to another place, where an unwiped copy would stay behind.
  out.reserve(kHeaderBytes + tensors.size() + kHashBytes);
  const Wiped wiped(out);
  put(out, shares.training, 8);
  put(out, shares.player, 4);
  put(out, shares.players, 4);
  out.append(tensors.begin(), tensors.end());
  const Hash256 hash = sha256(bytes_of(out));
  out.append(hash.begin(), hash.end());
  return replace_file(path, out, 0600);
}

Result<WeightShares> read_shares(const std::string& path) {
  Result<std::string> text = read_small_file(path, std::size_t{1} << 32);
  if (!text.ok()) return make_error(text.error().code, "share file: " + text.error().message);
  const Wiped wiped(*text);
  const std::span<const std::uint8_t> bytes = bytes_of(*text);
  if (bytes.size() < kHeaderBytes + kHashBytes ||
      std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) {
    return make_error(ErrorCode::kConfig,
                      path + ": no share file; `beaverpond train --shares-out` writes one");
  }
  const std::size_t end = bytes.size() - kHashBytes;
  const Hash256 hash = sha256(bytes.first(end));
  if (!std::equal(hash.begin(), hash.end(), bytes.begin() + static_cast<std::ptrdiff_t>(end))) {
    return make_error(ErrorCode::kConfig,
                      path + ": damaged, its hash does not fit; restore it, or train again");
  }
  WeightShares shares;
  shares.training = get(bytes, 8, 8);
  shares.player = static_cast<std::uint32_t>(get(bytes, 16, 4));
  shares.players = static_cast<std::uint32_t>(get(bytes, 20, 4));
  BP_ASSIGN(shares.tensors, decode_weights(bytes.subspan(kHeaderBytes, end - kHeaderBytes), path));
  return shares;
}

}  // namespace beaverpond
