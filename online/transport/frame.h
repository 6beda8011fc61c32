// Frames: what travels between two players once TLS is up. The table of bytes is in README.md.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "beaverpond/result.h"
#include "online/transport/transport.h"

namespace beaverpond {

static_assert(std::endian::native == std::endian::little,
              "words travel as they lie in memory; a big-endian host would have to swap them");

inline constexpr std::uint32_t kFrameMagic = 0x52465042;  // the bytes "BPFR"
inline constexpr std::uint16_t kFrameVersion = 3;

enum class FrameType : std::uint16_t {
  kData = 1,       ///< a Tag, the size of the message, then its first piece
  kHello = 2,      ///< rank, roster hash, what the application wants compared
  kAck = 3,        ///< the hello of the other side was accepted
  kRefuse = 4,     ///< it was not: error code and reason
  kHeartbeat = 5,  ///< a sign of life
  kGoodbye = 6,    ///< a clean end: nothing follows
  kLost = 7,       ///< the sender lost a third player, so the computation is over
  kMore = 8,       ///< the next piece of the message that its lane has begun
  kReceived = 9,   ///< how many frames have come whole, so that they need not be kept
  kPause = 10,     ///< begin no more messages of this lane: nobody asks for them
  kResume = 11,    ///< go on with this lane
};

/// The header of every frame, without its magic and version.
struct FrameHeader {
  FrameType type = FrameType::kData;
  std::uint32_t lane = 0;
  std::uint64_t sequence = 0;  ///< frames sent before in this direction; see README.md
  std::uint64_t length = 0;    ///< bytes that follow, the head of a data frame included
};

// Offsets of the fields on the wire.
inline constexpr std::size_t kFrameMagicOffset = 0;
inline constexpr std::size_t kFrameVersionOffset = kFrameMagicOffset + sizeof(std::uint32_t);
inline constexpr std::size_t kFrameTypeOffset = kFrameVersionOffset + sizeof(std::uint16_t);
inline constexpr std::size_t kFrameLaneOffset = kFrameTypeOffset + sizeof(std::uint16_t);
inline constexpr std::size_t kFrameSequenceOffset = kFrameLaneOffset + sizeof(std::uint32_t);
inline constexpr std::size_t kFrameLengthOffset = kFrameSequenceOffset + sizeof(std::uint64_t);
inline constexpr std::size_t kFrameHeaderBytes = kFrameLengthOffset + sizeof(std::uint64_t);
static_assert(kFrameHeaderBytes == 28);

inline constexpr std::size_t kTagBytes = 28;
static_assert(kTagBytes == sizeof(Tag::session) + sizeof(Tag::bundle) + sizeof(Tag::lane) +
                               sizeof(Tag::operation) + sizeof(Tag::step));
/// What a data frame begins with: the tag and the size of the whole message.
inline constexpr std::size_t kMessageHeadBytes = kTagBytes + sizeof(std::uint64_t);

/// Longer messages are refused unread: nobody makes a player allocate without bound.
inline constexpr std::uint64_t kMaxPayloadBytes = std::uint64_t{1} << 30;
/// A message travels in pieces of so many bytes, the last one shorter. Between two pieces other
/// lanes have their turn.
inline constexpr std::size_t kPieceBytes = std::size_t{256} << 10;
inline constexpr std::uint64_t kMaxControlBytes = std::uint64_t{1} << 16;

/// Bytes that a message takes in its frames.
constexpr std::uint64_t wire_bytes(std::uint64_t message_bytes) {
  const std::uint64_t pieces =
      message_bytes == 0 ? 1 : (message_bytes + kPieceBytes - 1) / kPieceBytes;
  return message_bytes + kMessageHeadBytes + pieces * kFrameHeaderBytes;
}

using FrameHeaderBytes = std::array<std::uint8_t, kFrameHeaderBytes>;
using MessageHeadBytes = std::array<std::uint8_t, kMessageHeadBytes>;

struct MessageHead {
  Tag tag;
  std::uint64_t size = 0;  ///< bytes of the message
};

template <class T>
void store_le(std::uint8_t* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

template <class T>
T load_le(const std::uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

FrameHeaderBytes encode_frame_header(const FrameHeader& header);

/// Errors: kProtocolMismatch for another magic, version or type, a length above its limit, a data
/// frame too short for its head, or an empty piece.
Result<FrameHeader> decode_frame_header(std::span<const std::uint8_t, kFrameHeaderBytes> bytes);

MessageHeadBytes encode_message_head(const MessageHead& head);
/// Errors: kProtocolMismatch for a size above its limit.
Result<MessageHead> decode_message_head(std::span<const std::uint8_t, kMessageHeadBytes> bytes);

/// "session 7, bundle 12, lane 0, operation 3".
std::string to_string(const Tag& tag);

}  // namespace beaverpond
