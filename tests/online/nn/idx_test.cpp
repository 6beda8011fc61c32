#include "online/nn/idx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>

namespace beaverpond {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<std::uint8_t>;

std::string place(const std::string& name) {
  return ::testing::TempDir() + "/idx_test_" + name;
}

std::string write_plain(const std::string& name, const Bytes& bytes) {
  std::ofstream out(place(name), std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  return place(name);
}

std::string write_gz(const std::string& name, const Bytes& bytes) {
  gzFile out = gzopen(place(name).c_str(), "wb");
  gzwrite(out, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(out);
  return place(name);
}

const Bytes kImages{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2,  0,  0,
                    0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255};
const Bytes kLabels{0, 0, 8, 1, 0, 0, 0, 3, 9, 0, 4};

Bytes without_last(Bytes bytes, std::size_t count) {
  bytes.resize(bytes.size() - count);
  return bytes;
}

TEST(Idx, ReadsPlainAndCompressedImages) {
  for (const std::string& path : {write_plain("images", kImages), write_gz("images.gz", kImages)}) {
    const Result<Samples> images = read_idx_images(path);
    ASSERT_TRUE(images.ok()) << images.error().message;
    EXPECT_EQ(images->count, 2u);
    EXPECT_EQ(images->height, 2u);
    EXPECT_EQ(images->width, 3u);
    EXPECT_EQ(images->pixels.back(), 255);
    EXPECT_EQ(images->pixels.size(), 12u);
  }
}

TEST(Idx, ReadsPlainAndCompressedLabels) {
  for (const std::string& path : {write_plain("labels", kLabels), write_gz("labels.gz", kLabels)}) {
    const auto labels = read_idx_labels(path, 10);
    ASSERT_TRUE(labels.ok()) << labels.error().message;
    EXPECT_EQ(labels.value(), (Bytes{9, 0, 4}));
  }
}

TEST(Idx, MissingFileNamesThePackage) {
  const auto images = read_idx_images("/nowhere/train.gz");
  ASSERT_FALSE(images.ok());
  EXPECT_EQ(images.error().code, ErrorCode::kIo);
  EXPECT_THAT(images.error().message, HasSubstr("/nowhere/train.gz"));
  EXPECT_THAT(images.error().message, HasSubstr("dataset-fashion-mnist"));
}

TEST(Idx, PipesAreRefusedInsteadOfWaitedFor) {
  const std::string path = place("pipe.gz");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const auto images = read_idx_images(path);
  ASSERT_FALSE(images.ok());
  EXPECT_EQ(images.error().code, ErrorCode::kIo);
  EXPECT_THAT(images.error().message, HasSubstr("no regular file"));
  ::unlink(path.c_str());
}

TEST(Idx, TruncatedFilesSayWhatIsMissing) {
  for (const std::size_t cut : {1, 11, 12, 13, 27}) {
    const auto images = read_idx_images(write_plain("short", without_last(kImages, cut)));
    ASSERT_FALSE(images.ok());
    EXPECT_EQ(images.error().code, ErrorCode::kConfig);
    EXPECT_THAT(images.error().message, HasSubstr("truncated"));
    EXPECT_THAT(images.error().message, HasSubstr("offset "));
  }
  const auto pixels = read_idx_images(write_plain("short", without_last(kImages, 2)));
  EXPECT_THAT(pixels.error().message,
              HasSubstr("offset 16: expected 12 bytes of pixels, found 10"));
  const auto labels = read_idx_labels(write_plain("short", without_last(kLabels, 1)), 10);
  EXPECT_THAT(labels.error().message, HasSubstr("offset 8: expected 3 bytes of labels, found 2"));
}

TEST(Idx, DamagedCompressionIsAnError) {
  const std::string path = write_gz("damaged.gz", Bytes(kImages));
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 12);
  EXPECT_EQ(read_idx_images(path).error().code, ErrorCode::kConfig);
}

TEST(Idx, WrongKindOfFileIsNamed) {
  const auto images = read_idx_images(write_plain("labels", kLabels));
  ASSERT_FALSE(images.ok());
  EXPECT_EQ(images.error().code, ErrorCode::kConfig);
  EXPECT_THAT(images.error().message,
              HasSubstr("offset 0: expected magic number 0x00000803 of an IDX image file, found "
                        "0x00000801 (a label file)"));
  const auto labels = read_idx_labels(write_plain("images", kImages), 10);
  EXPECT_THAT(labels.error().message, HasSubstr("(an image file)"));
}

TEST(Idx, HugeHeaderDoesNotAllocate) {
  Bytes bytes = kImages;
  bytes[4] = bytes[8] = bytes[12] = 0xff;
  const auto absurd = read_idx_images(write_plain("absurd", bytes));
  EXPECT_EQ(absurd.error().code, ErrorCode::kConfig);
  bytes = kImages;
  bytes[5] = 0x40;  // 4 million images that are not there
  const auto large = read_idx_images(write_plain("large", bytes));
  EXPECT_EQ(large.error().code, ErrorCode::kConfig);
}

TEST(Idx, BytesAfterTheEndAreAnError) {
  Bytes bytes = kLabels;
  bytes.push_back(1);
  const auto labels = read_idx_labels(write_plain("long", bytes), 10);
  ASSERT_FALSE(labels.ok());
  EXPECT_THAT(labels.error().message, HasSubstr("offset 11: expected the end of the file"));
}

TEST(Idx, LabelOutOfRangeIsNamedByOffset) {
  const auto labels = read_idx_labels(write_plain("labels", kLabels), 9);
  ASSERT_FALSE(labels.ok());
  EXPECT_EQ(labels.error().code, ErrorCode::kConfig);
  EXPECT_THAT(labels.error().message,
              HasSubstr("offset 8: expected a label below 9 (the model's classes), found 9"));
}

}  // namespace
}  // namespace beaverpond
