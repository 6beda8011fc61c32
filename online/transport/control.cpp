#include "online/transport/control.h"

#include <algorithm>

#include "online/transport/frame.h"

namespace beaverpond {

namespace {

constexpr std::size_t kMaxTextBytes = 4096;

std::vector<std::uint8_t> number_and_text(std::uint32_t number, const std::string& text) {
  const std::size_t text_bytes = std::min(text.size(), kMaxTextBytes);
  std::vector<std::uint8_t> bytes(sizeof number + text_bytes);
  store_le(bytes.data(), number);
  std::copy_n(text.begin(), text_bytes, bytes.begin() + sizeof number);
  return bytes;
}

Error too_short(const char* what) {
  return make_error(ErrorCode::kProtocolMismatch, std::string("bad frame: a short ") + what);
}

}  // namespace

std::vector<std::uint8_t> encode(const LinkHello& hello) {
  std::vector<std::uint8_t> bytes(kHelloBytes + hello.application.size());
  store_le(bytes.data(), hello.rank);
  std::copy(hello.roster_hash.begin(), hello.roster_hash.end(), bytes.begin() + 4);
  std::copy(hello.incarnation.begin(), hello.incarnation.end(), bytes.begin() + 36);
  std::copy(hello.goes_on_with.begin(), hello.goes_on_with.end(), bytes.begin() + 52);
  store_le(bytes.data() + 68, hello.received);
  store_le(bytes.data() + 76, hello.reconnect);
  std::copy(hello.application.begin(), hello.application.end(), bytes.begin() + kHelloBytes);
  return bytes;
}

std::vector<std::uint8_t> encode(const Refusal& refusal) {
  return number_and_text(static_cast<std::uint32_t>(refusal.code), refusal.reason);
}

std::vector<std::uint8_t> encode(const LostReport& report) {
  return number_and_text(report.player, report.reason);
}

std::vector<std::uint8_t> encode_received(std::uint64_t frames) {
  std::vector<std::uint8_t> bytes(sizeof frames);
  store_le(bytes.data(), frames);
  return bytes;
}

Result<LinkHello> decode_link_hello(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kHelloBytes) return too_short("hello");
  LinkHello hello;
  hello.rank = load_le<std::uint32_t>(bytes.data());
  std::copy_n(bytes.begin() + 4, hello.roster_hash.size(), hello.roster_hash.begin());
  std::copy_n(bytes.begin() + 36, hello.incarnation.size(), hello.incarnation.begin());
  std::copy_n(bytes.begin() + 52, hello.goes_on_with.size(), hello.goes_on_with.begin());
  hello.received = load_le<std::uint64_t>(bytes.data() + 68);
  hello.reconnect = load_le<std::uint32_t>(bytes.data() + 76);
  hello.application.assign(bytes.begin() + kHelloBytes, bytes.end());
  return hello;
}

Result<Refusal> decode_refusal(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kRefusalBytes) return too_short("refusal");
  const auto code = load_le<std::uint32_t>(bytes.data());
  if (code < static_cast<std::uint32_t>(ErrorCode::kConfig) ||
      code > static_cast<std::uint32_t>(ErrorCode::kDeviceFailed)) {
    return make_error(ErrorCode::kProtocolMismatch,
                      "bad frame: a refusal with the unknown code " + std::to_string(code));
  }
  return Refusal{static_cast<ErrorCode>(code), printable(bytes.subspan(kRefusalBytes))};
}

Result<LostReport> decode_lost_report(std::span<const std::uint8_t> bytes, int players) {
  if (bytes.size() < kLostReportBytes) return too_short("report of a loss");
  const auto player = load_le<std::uint32_t>(bytes.data());
  if (player >= static_cast<std::uint32_t>(players)) {
    return make_error(ErrorCode::kProtocolMismatch, "bad frame: a report of the loss of player " +
                                                        std::to_string(player) +
                                                        ", who is not in the roster");
  }
  return LostReport{player, printable(bytes.subspan(kLostReportBytes))};
}

Result<std::uint64_t> decode_received(std::span<const std::uint8_t> bytes) {
  if (bytes.size() != sizeof(std::uint64_t)) {
    return make_error(ErrorCode::kProtocolMismatch, "bad frame: a count of another length");
  }
  return load_le<std::uint64_t>(bytes.data());
}

std::string printable(std::span<const std::uint8_t> bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes.first(std::min(bytes.size(), kMaxTextBytes))) {
    text.push_back(byte >= 0x20 && byte < 0x7f ? static_cast<char>(byte) : '?');
  }
  return text;
}

}  // namespace beaverpond
