#include "online/transport/frame.h"

#include <string>

namespace beaverpond {

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
  const auto wrong = [](const std::string& what) {
    return make_error(ErrorCode::kProtocolMismatch, "bad frame: " + what);
  };
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
      type > static_cast<std::uint16_t>(FrameType::kLost)) {
    return wrong("unknown type " + std::to_string(type));
  }
  FrameHeader header;
  header.type = static_cast<FrameType>(type);
  header.lane = load_le<std::uint32_t>(bytes.data() + kFrameLaneOffset);
  header.sequence = load_le<std::uint64_t>(bytes.data() + kFrameSequenceOffset);
  header.length = load_le<std::uint64_t>(bytes.data() + kFrameLengthOffset);
  const bool data = header.type == FrameType::kData;
  if (header.length > (data ? kMaxPayloadBytes + kTagBytes : kMaxControlBytes)) {
    return wrong("a length of " + std::to_string(header.length) + " bytes is above the limit");
  }
  if (data && header.length < kTagBytes) return wrong("a data frame without a tag");
  return header;
}

TagBytes encode_tag(const Tag& tag) {
  TagBytes bytes{};
  store_le(bytes.data(), tag.session);
  store_le(bytes.data() + 8, tag.bundle);
  store_le(bytes.data() + 16, tag.lane);
  store_le(bytes.data() + 20, tag.operation);
  return bytes;
}

Tag decode_tag(std::span<const std::uint8_t, kTagBytes> bytes) {
  Tag tag;
  tag.session = load_le<std::uint64_t>(bytes.data());
  tag.bundle = load_le<std::uint64_t>(bytes.data() + 8);
  tag.lane = load_le<std::uint32_t>(bytes.data() + 16);
  tag.operation = load_le<std::uint32_t>(bytes.data() + 20);
  return tag;
}

std::string to_string(const Tag& tag) {
  return "session " + std::to_string(tag.session) + ", bundle " + std::to_string(tag.bundle) +
         ", lane " + std::to_string(tag.lane) + ", operation " + std::to_string(tag.operation);
}

}  // namespace beaverpond
