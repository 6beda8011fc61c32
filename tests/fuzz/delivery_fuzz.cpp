// What a player and the factory tell each other when the player pulls: messages and paths. The
// first byte chooses which. What is accepted must come back unchanged from its own encoding.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "offline/factory/delivery_messages.h"

namespace {

using namespace beaverpond;

template <class Decoded, class Encode>
void expect_same(std::string_view text, const Decoded& decoded, const Encode& encode) {
  if (decoded && encode(*decoded) != text) std::abort();
}

template <class T>
std::optional<T> value_of(Result<T> result) {
  if (!result.ok()) return std::nullopt;
  return std::move(result).value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0: expect_same(text, value_of(decode_sync_request(text)), encode_sync_request); break;
    case 1: expect_same(text, value_of(decode_sync_answer(text)), encode_sync_answer); break;
    case 2: expect_same(text, parse_lane_range(std::string(text)), lane_range_path); break;
  }
  return 0;
}
