#include "online/nn/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/online/nn/idx_writer.h"

namespace beaverpond {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Job job_of(std::uint32_t height, std::uint32_t width, std::uint32_t classes) {
  Job job;
  job.model = {height, width, 1, {LayerConfig{}}};
  job.model.layers[0].units = classes;
  return job;
}

Dataset small() {
  return {{4, 1, 2, {0, 255, 1, 254, 128, 127, 9, 9}}, {0, 1, 2, 1}};
}

TEST(Dataset, PixelsAreRoundedByIntegersOnly) {
  EXPECT_EQ(pixel_word(0, 16), 0u);
  EXPECT_EQ(pixel_word(255, 16), 65536u);
  EXPECT_EQ(pixel_word(1, 16), 257u);      // 257.004
  EXPECT_EQ(pixel_word(128, 16), 32897u);  // 32896.502
  EXPECT_EQ(pixel_word(255, 24), std::uint64_t{1} << 24);
  for (int f = 8; f <= 24; ++f) {
    for (int pixel = 0; pixel < 256; ++pixel) {
      const double exact = pixel / 255.0 * static_cast<double>(1 << f);
      EXPECT_NEAR(static_cast<double>(pixel_word(static_cast<std::uint8_t>(pixel), f)), exact,
                  0.50001);
    }
  }
}

TEST(Dataset, EncodesTheRowsAskedFor) {
  const std::vector<std::uint32_t> rows{2, 0};
  EXPECT_THAT(image_words(small(), rows, 8), ElementsAre(129, 127, 0, 256));
  EXPECT_THAT(label_words(small(), rows, 3, 8), ElementsAre(0, 0, 256, 256, 0, 0));
  EXPECT_THAT(image_reals(small(), rows, 8),
              ElementsAre(128 / 255.0 * 256, 127 / 255.0 * 256, 0, 256));
  EXPECT_THAT(label_reals(small(), rows, 3, 8), ElementsAre(0, 0, 256, 256, 0, 0));
}

TEST(Dataset, OwnersTakeTheirRangeAndClasses) {
  DataOwner owner;
  owner.train_images = "images.gz";
  owner.rows_per_step = 1;
  EXPECT_THAT(owned_rows(owner, small()).value(), ElementsAre(0, 1, 2, 3));
  owner.classes = {1};
  EXPECT_THAT(owned_rows(owner, small()).value(), ElementsAre(1, 3));
  owner.rows = RowRange{2, 4};
  EXPECT_THAT(owned_rows(owner, small()).value(), ElementsAre(3));
  owner.rows_per_step = 2;
  EXPECT_THAT(owned_rows(owner, small()).error().message, HasSubstr("1 rows are left"));
  owner.rows = RowRange{2, 5};
  EXPECT_THAT(owned_rows(owner, small()).error().message,
              HasSubstr("rows [2, 5) are not in images.gz, which has 4 rows"));
}

TEST(Dataset, FilesMustFitEachOtherAndTheModel) {
  const std::string images =
      write_idx_images("dataset_images", {2, 3, 2, std::vector<std::uint8_t>(12)});
  const std::string labels = write_idx_labels("dataset_labels", {1, 0});
  EXPECT_TRUE(read_dataset(images, labels, job_of(3, 2, 2)).ok());
  EXPECT_THAT(read_dataset(images, labels, job_of(2, 3, 2)).error().message,
              HasSubstr("rows of 3x2x1, the model takes 2x3x1; correct model.input"));
  const std::string more = write_idx_labels("dataset_more", {1, 0, 1});
  EXPECT_THAT(read_dataset(images, more, job_of(3, 2, 2)).error().message,
              HasSubstr("3 labels for the 2 rows"));
  EXPECT_FALSE(read_dataset(images, labels, job_of(3, 2, 1)).ok());
}

}  // namespace
}  // namespace beaverpond
