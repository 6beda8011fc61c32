#include "online/transport/frame.h"

#include <string>

namespace beaverpond {

namespace {

Error wrong(const std::string& what) {
  return make_error(ErrorCode::kProtocolMismatch, "bad frame: " + what);
}

std::uint64_t limit_of(FrameType type) {
  if (type == FrameType::kData) return kPieceBytes + kMessageHeadBytes;
  return type == FrameType::kMore ? kPieceBytes : kMaxControlBytes;
}

}  // namespace

FrameHeaderBytes encode_frame_header(const FrameHeader& header) {
  FrameHeaderBytes bytes{};
  store_le(bytes.data() + kFrameMagicOffset, kFrameMagic);
  store_le(bytes.data() + kFrameVersionOffset, kFrameVersion);
  store_le(bytes.data() + kFrameTypeOffset, static_cast<std::uint16_t>(header.type));
  store_le(bytes.data() + kFrameLaneOffset, header.lane);
  store_le(bytes.data() + kFrameSequenceOffset, header.sequence);
  store_le(bytes.data() + kFrameLengthOffset, header.length);
  return bytes;
}

Result<FrameHeader> decode_frame_header(std::span<const std::uint8_t, kFrameHeaderBytes> bytes) {
  if (load_le<std::uint32_t>(bytes.data() + kFrameMagicOffset) != kFrameMagic) {
    return wrong("it does not begin with the magic bytes BPFR");
  }
  const auto version = load_le<std::uint16_t>(bytes.data() + kFrameVersionOffset);
  if (version != kFrameVersion) {
    return wrong("version " + std::to_string(version) + ", but this program speaks version " +
                 std::to_string(kFrameVersion) + "; run the same release on every player");
  }
  const auto type = load_le<std::uint16_t>(bytes.data() + kFrameTypeOffset);
  if (type < static_cast<std::uint16_t>(FrameType::kData) ||
      type > static_cast<std::uint16_t>(FrameType::kResume)) {
    return wrong("unknown type " + std::to_string(type));
  }
  FrameHeader header;
  header.type = static_cast<FrameType>(type);
  header.lane = load_le<std::uint32_t>(bytes.data() + kFrameLaneOffset);
  header.sequence = load_le<std::uint64_t>(bytes.data() + kFrameSequenceOffset);
  header.length = load_le<std::uint64_t>(bytes.data() + kFrameLengthOffset);
  if (header.length > limit_of(header.type)) {
    return wrong("a length of " + std::to_string(header.length) + " bytes is above the limit");
  }
  if (header.type == FrameType::kData && header.length < kMessageHeadBytes) {
    return wrong("a data frame without a tag");
  }
  if (header.type == FrameType::kMore && header.length == 0) return wrong("an empty piece");
  return header;
}

MessageHeadBytes encode_message_head(const MessageHead& head) {
  MessageHeadBytes bytes{};
  store_le(bytes.data(), head.tag.session);
  store_le(bytes.data() + 8, head.tag.bundle);
  store_le(bytes.data() + 16, head.tag.lane);
  store_le(bytes.data() + 20, head.tag.operation);
  store_le(bytes.data() + 24, head.tag.step);
  store_le(bytes.data() + kTagBytes, head.size);
  return bytes;
}

Result<MessageHead> decode_message_head(std::span<const std::uint8_t, kMessageHeadBytes> bytes) {
  MessageHead head;
  head.tag.session = load_le<std::uint64_t>(bytes.data());
  head.tag.bundle = load_le<std::uint64_t>(bytes.data() + 8);
  head.tag.lane = load_le<std::uint32_t>(bytes.data() + 16);
  head.tag.operation = load_le<std::uint32_t>(bytes.data() + 20);
  head.tag.step = load_le<std::uint32_t>(bytes.data() + 24);
  head.size = load_le<std::uint64_t>(bytes.data() + kTagBytes);
  if (head.size > kMaxPayloadBytes) {
    return wrong("a message of " + std::to_string(head.size) + " bytes is above the limit");
  }
  return head;
}

std::string to_string(const Tag& tag) {
  return "session " + std::to_string(tag.session) + ", bundle " + std::to_string(tag.bundle) +
         ", lane " + std::to_string(tag.lane) + ", operation " + std::to_string(tag.operation) +
         (tag.step == 0 ? "" : ", step " + std::to_string(tag.step));
}

}  // namespace beaverpond
