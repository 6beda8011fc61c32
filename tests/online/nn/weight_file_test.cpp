#include "online/nn/weight_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace beaverpond {
namespace {

using ::testing::HasSubstr;

std::vector<WeightTensor> two_tensors() {
  return {{{2, 3}, 48, {1, 2, 3, 4, 5, UINT64_MAX}}, {{1}, 32, {0x0123456789abcdef}}};
}

std::string place(const char* name) {
  return ::testing::TempDir() + "/weight_file_test_" + name;
}

TEST(WeightFile, RoundTrips) {
  const std::string path = place("ok");
  ASSERT_TRUE(write_weights(two_tensors(), path).ok());
  const auto read = read_weights(path);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read.value(), two_tensors());
}

// The format is a promise: these bytes, and with them the name, never change within version 1.
TEST(WeightFile, BytesAreKnown) {
  const std::vector<WeightTensor> tensors{{{2}, 48, {1, 0x0123456789abcdef}}};
  const std::vector<std::uint8_t> expected{
      'B', 'P', 'W', 'T', 1,  0, 0, 0, 1, 0, 0, 0, 0,    0,    0,    0,  // header
      1,   0,   0,   0,   48, 0, 0, 0, 2, 0, 0, 0, 0,    0,    0,    0,    0,    0,    0,    0,
      0,   0,   0,   0,   1,  0, 0, 0, 0, 0, 0, 0, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01};
  EXPECT_EQ(encode_weights(tensors), expected);
}

TEST(WeightFile, NamesDependOnEveryPart) {
  const std::string name = weights_sha256(two_tensors());
  EXPECT_EQ(name.size(), 64u);
  EXPECT_EQ(weights_sha256(two_tensors()), name);
  auto word = two_tensors();
  word[1].words[0] ^= 1;
  auto scale = two_tensors();
  scale[0].scale_bits = 47;
  auto shape = two_tensors();
  shape[0].shape = {3, 2};
  for (const auto& other : {word, scale, shape}) EXPECT_NE(weights_sha256(other), name);
}

TEST(WeightFile, EveryTruncationIsRefused) {
  const std::vector<std::uint8_t> bytes = encode_weights(two_tensors());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto read = decode_weights(std::span(bytes).first(size), "w");
    ASSERT_FALSE(read.ok()) << size;
    EXPECT_EQ(read.error().code, ErrorCode::kConfig);
    EXPECT_THAT(read.error().message, HasSubstr("w: offset "));
  }
}

TEST(WeightFile, DamagedHeadersAreRefusedWithoutAllocating) {
  const std::vector<std::uint8_t> good = encode_weights(two_tensors());
  // Magic, version, count, reserved, rank, scale, dimensions, an unused dimension.
  for (const std::size_t at : {0, 4, 8, 12, 16, 17, 20, 27, 31, 32}) {
    std::vector<std::uint8_t> bytes = good;
    bytes[at] ^= 0xff;
    EXPECT_FALSE(decode_weights(bytes, "w").ok()) << at;
  }
  std::vector<std::uint8_t> longer = good;
  longer.push_back(0);
  EXPECT_FALSE(decode_weights(longer, "w").ok());
}

TEST(WeightFile, MissingPlacesAreIoErrors) {
  EXPECT_EQ(read_weights("/nowhere/w").error().code, ErrorCode::kIo);
  EXPECT_EQ(write_weights(two_tensors(), "/nowhere/w").error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace beaverpond
