#include "online/transport/nccl/hello.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "kernels/cuda/runtime.h"
#include "online/transport/frame.h"

namespace beaverpond::nccl {
namespace {

// The bytes are in README.md.
constexpr std::array<char, 8> kMagic = {'B', 'P', 'N', 'C', 'C', 'L', '0', '1'};
constexpr std::size_t kHelloBytes = 160;
constexpr std::size_t kMostText = 1000;

struct Hello {
  std::uint32_t version = 0;
  std::uint8_t unable = 0;  ///< 1: the text says why
  std::array<std::uint8_t, 16> gpu{};
  UniqueId id{};
  std::string text;
};
static_assert(kMagic.size() + 4 + 4 + 16 + sizeof(UniqueId) == kHelloBytes);

std::vector<std::uint8_t> encode(const Hello& hello) {
  std::vector<std::uint8_t> bytes(kHelloBytes);
  std::copy(kMagic.begin(), kMagic.end(), bytes.begin());
  store_le(bytes.data() + 8, hello.version);
  bytes[12] = hello.unable;
  std::copy(hello.gpu.begin(), hello.gpu.end(), bytes.begin() + 16);
  std::copy(std::begin(hello.id.bytes), std::end(hello.id.bytes), bytes.begin() + 32);
  const std::size_t length = std::min(hello.text.size(), kMostText);
  bytes.insert(bytes.end(), hello.text.begin(),
               hello.text.begin() + static_cast<std::ptrdiff_t>(length));
  return bytes;
}

std::optional<Hello> decode(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kHelloBytes || bytes.size() > kHelloBytes + kMostText ||
      !std::equal(kMagic.begin(), kMagic.end(), bytes.begin())) {
    return std::nullopt;
  }
  Hello hello;
  hello.version = load_le<std::uint32_t>(bytes.data() + 8);
  hello.unable = bytes[12];
  std::copy_n(bytes.begin() + 16, hello.gpu.size(), hello.gpu.begin());
  std::memcpy(hello.id.bytes, bytes.data() + 32, sizeof(hello.id.bytes));
  for (const std::uint8_t c : bytes.subspan(kHelloBytes)) {
    hello.text.push_back(c >= 0x20 && c < 0x7f ? static_cast<char>(c) : '?');
  }
  return hello;
}

Error about(int player, ErrorCode code, const std::string& message) {
  Error error = make_error(code, message);
  error.player = player;
  return error;
}

Result<Hello> own_hello(const Api& api, int device, int rank) {
  Hello hello;
  int version = 0;
  Status status = api.get_version(&version);
  if (status == Status::kSuccess && version < kOldestVersion) {
    return make_error(ErrorCode::kConfig, "NCCL " + version_text(version) +
                                              " is too old; install 2.14 or later, or use "
                                              "--transport tls");
  }
  hello.version = static_cast<std::uint32_t>(version);
  cudaDeviceProp properties{};
  BP_TRY(cuda::check(cudaGetDeviceProperties(&properties, device), "cannot ask what the GPU is"));
  static_assert(sizeof(properties.uuid.bytes) == sizeof(hello.gpu));
  std::memcpy(hello.gpu.data(), properties.uuid.bytes, hello.gpu.size());
  if (status == Status::kSuccess && rank == 0) status = api.get_unique_id(&hello.id);
  if (status == Status::kSuccess) return hello;
  const char* last = api.get_last_error(nullptr);
  return make_error(ErrorCode::kIo, std::string("NCCL cannot start: ") +
                                        api.get_error_string(status) + " (" +
                                        (last == nullptr ? "" : last) +
                                        "); set NCCL_SOCKET_IFNAME to the network between the "
                                        "players, or use --transport tls");
}

/// Reads all hellos. Players that cannot go on count before players that differ.
Result<Agreement> judge(const std::vector<std::vector<std::uint8_t>>& messages) {
  std::vector<Hello> hellos;
  for (std::size_t player = 0; player < messages.size(); ++player) {
    const std::optional<Hello> hello = decode(messages[player]);
    if (!hello.has_value()) {
      return about(static_cast<int>(player), ErrorCode::kProtocolMismatch,
                   "player " + std::to_string(player) +
                       " speaks of NCCL in another way; run the same release on all players");
    }
    hellos.push_back(*hello);
  }
  for (std::size_t player = 0; player < hellos.size(); ++player) {
    if (hellos[player].unable == 0) continue;
    return about(static_cast<int>(player), ErrorCode::kConfig,
                 "player " + std::to_string(player) + " cannot use NCCL: " + hellos[player].text);
  }
  Agreement agreed;
  agreed.id = hellos[0].id;
  agreed.version = static_cast<int>(hellos[0].version);
  for (std::size_t player = 1; player < hellos.size(); ++player) {
    if (hellos[player].version != hellos[0].version) {
      return about(static_cast<int>(player), ErrorCode::kConfig,
                   "player 0 has NCCL " + version_text(agreed.version) + ", player " +
                       std::to_string(player) + " has " +
                       version_text(static_cast<int>(hellos[player].version)) +
                       "; install the same on all, or use --transport tls");
    }
    for (std::size_t other = 0; other < player && agreed.shared_gpu.empty(); ++other) {
      if (hellos[other].gpu != hellos[player].gpu) continue;
      agreed.shared_gpu =
          "players " + std::to_string(other) + " and " + std::to_string(player) + " share a GPU";
    }
  }
  return agreed;
}

}  // namespace

Result<Agreement> agree_blocking(Transport& control, const Api& api, int device, const Tag& tag,
                                 Deadline deadline) {
  const Result<Hello> hello = own_hello(api, device, control.rank());
  if (!hello.ok()) {
    tell_unable_blocking(control, tag.lane, hello.error(), deadline);
    return hello.error();
  }
  BP_ASSIGN(const auto messages,
            control.all_gather_messages_blocking(encode(*hello), tag, deadline));
  return judge(messages);
}

void tell_unable_blocking(Transport& control, std::uint32_t lane, const Error& why,
                          Deadline deadline) {
  Hello hello;
  hello.unable = 1;
  hello.text = why.message;
  const Tag tag{.lane = lane, .operation = kHelloOperation};
  (void)control.all_gather_messages_blocking(encode(hello), tag, deadline);
}

}  // namespace beaverpond::nccl
