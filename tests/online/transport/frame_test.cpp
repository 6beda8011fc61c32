#include "online/transport/frame.h"

#include <gtest/gtest.h>

#include "online/transport/control.h"

namespace beaverpond {
namespace {

TEST(Frame, HeaderLiesOnTheWireAsDocumented) {
  const FrameHeaderBytes bytes =
      encode_frame_header({FrameType::kData, 0x01020304, 0x1112131415161718, 0x28});
  const FrameHeaderBytes expected = {'B',  'P', 'F',  'R',  3,    0,    1,    0,    4,    3,
                                     2,    1,   0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
                                     0x28, 0,   0,    0,    0,    0,    0,    0};
  EXPECT_EQ(bytes, expected);
  const Result<FrameHeader> header = decode_frame_header(bytes);
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->type, FrameType::kData);
  EXPECT_EQ(header->lane, 0x01020304u);
  EXPECT_EQ(header->sequence, 0x1112131415161718u);
  EXPECT_EQ(header->length, 0x28u);
}

TEST(Frame, HeadOfAMessageLiesOnTheWireAsDocumented) {
  const Tag tag{.session = 1, .bundle = 2, .lane = 3, .operation = 0x04000000, .step = 5};
  MessageHeadBytes expected = {1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0,
                               0, 0, 0, 0, 0, 4, 5, 0, 0, 0, 6, 7, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(encode_message_head({tag, 0x0706}), expected);
  const Result<MessageHead> head = decode_message_head(expected);
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(head->tag, tag);
  EXPECT_EQ(head->size, 0x0706u);
  expected.back() = 1;
  EXPECT_EQ(decode_message_head(expected).error().code, ErrorCode::kProtocolMismatch);
}

TEST(Frame, AMessageIsAsLongOnTheWireAsItsPieces) {
  EXPECT_EQ(wire_bytes(0), 28u + 36);
  EXPECT_EQ(wire_bytes(kPieceBytes), kPieceBytes + 28 + 36);
  EXPECT_EQ(wire_bytes(kPieceBytes + 1), kPieceBytes + 1 + 2 * 28 + 36);
}

TEST(Frame, ForeignOrImpossibleHeadersAreRefused) {
  const FrameHeaderBytes good = encode_frame_header({FrameType::kData, 0, 0, kMessageHeadBytes});
  ASSERT_TRUE(decode_frame_header(good).ok());
  const auto refused = [](const FrameHeaderBytes& bytes, const std::string& what) {
    const Result<FrameHeader> header = decode_frame_header(bytes);
    ASSERT_FALSE(header.ok()) << what;
    EXPECT_EQ(header.error().code, ErrorCode::kProtocolMismatch);
    EXPECT_NE(header.error().message.find(what), std::string::npos) << header.error().message;
  };
  FrameHeaderBytes bytes = good;
  bytes[0] = 'X';
  refused(bytes, "magic");
  bytes = good;
  bytes[kFrameVersionOffset] = 2;
  refused(bytes, "version 2");
  bytes = good;
  bytes[kFrameTypeOffset] = 12;
  refused(bytes, "unknown type 12");
  bytes[kFrameTypeOffset] = 0;
  refused(bytes, "unknown type 0");
  refused(encode_frame_header({FrameType::kData, 0, 0, kMessageHeadBytes - 1}), "without a tag");
  refused(encode_frame_header({FrameType::kData, 0, 0, kPieceBytes + kMessageHeadBytes + 1}),
          "above the limit");
  refused(encode_frame_header({FrameType::kMore, 0, 0, kPieceBytes + 1}), "above the limit");
  refused(encode_frame_header({FrameType::kMore, 0, 0, 0}), "an empty piece");
  refused(encode_frame_header({FrameType::kHello, 0, 0, kMaxControlBytes + 1}), "above the limit");
  refused(encode_frame_header({FrameType::kData, 0, 0, ~std::uint64_t{0}}), "above the limit");
}

TEST(Control, PayloadsComeBack) {
  LinkHello hello;
  hello.rank = 2;
  hello.roster_hash.fill(5);
  hello.incarnation.fill(6);
  hello.goes_on_with.fill(7);
  hello.received = 1234;
  hello.reconnect = 5000;
  hello.application = {9, 8, 7};
  const Result<LinkHello> back = decode_link_hello(encode(hello));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->rank, 2u);
  EXPECT_EQ(back->roster_hash, hello.roster_hash);
  EXPECT_EQ(back->application, hello.application);
  EXPECT_EQ(back->incarnation, hello.incarnation);
  EXPECT_EQ(back->goes_on_with, hello.goes_on_with);
  EXPECT_TRUE(back->goes_on());
  EXPECT_EQ(back->received, 1234u);
  EXPECT_EQ(back->reconnect, 5000u);
  EXPECT_EQ(*decode_received(encode_received(77)), 77u);
  EXPECT_FALSE(decode_received(std::vector<std::uint8_t>(7)).ok());

  const Result<Refusal> refusal = decode_refusal(encode(Refusal{ErrorCode::kConfig, "no"}));
  ASSERT_TRUE(refusal.ok());
  EXPECT_EQ(refusal->code, ErrorCode::kConfig);
  EXPECT_EQ(refusal->reason, "no");

  const Result<LostReport> report = decode_lost_report(encode(LostReport{1, "gone"}), 3);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->player, 1u);
  EXPECT_EQ(report->reason, "gone");
}

TEST(Control, ShortOrImpossiblePayloadsAreRefused) {
  const std::vector<std::uint8_t> three(3);
  EXPECT_EQ(decode_link_hello(three).error().code, ErrorCode::kProtocolMismatch);
  EXPECT_EQ(decode_refusal(three).error().code, ErrorCode::kProtocolMismatch);
  EXPECT_EQ(decode_lost_report(three, 3).error().code, ErrorCode::kProtocolMismatch);
  EXPECT_FALSE(decode_refusal(encode(Refusal{static_cast<ErrorCode>(77), ""})).ok());
  EXPECT_FALSE(decode_lost_report(encode(LostReport{3, ""}), 3).ok());
}

TEST(Control, TextOfAPeerCannotDriveTheTerminal) {
  const std::vector<std::uint8_t> evil = {'a', 0x1b, '[', '2', 'J', '\n', 0, 0xff};
  EXPECT_EQ(printable(evil), "a?[2J???");
}

}  // namespace
}  // namespace beaverpond
