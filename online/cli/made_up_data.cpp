#include "online/cli/made_up_data.h"

#include <algorithm>
#include <utility>

#include "beaverpond/check.h"

namespace beaverpond {
namespace {

constexpr std::uint32_t kCell = 4;  ///< pixels a side that have one mean
constexpr std::uint64_t kMeansAt = 0;
constexpr std::uint64_t kTrainingAt = std::uint64_t{1} << 40;
constexpr std::uint64_t kTestAt = std::uint64_t{1} << 41;

std::uint64_t cells(std::uint32_t pixels) {
  return (std::uint64_t{pixels} + kCell - 1) / kCell;
}

/// The label, then two pixels a word.
std::uint64_t words_per_image(const MadeUpShape& shape) {
  return 1 + (shape.image_size() + 1) / 2;
}

std::span<std::uint8_t> bytes_of(std::vector<std::uint32_t>& words) {
  return {reinterpret_cast<std::uint8_t*>(words.data()), words.size() * sizeof(std::uint32_t)};
}

/// 96 .. 159.
std::uint8_t mean_of(std::uint32_t word) {
  return static_cast<std::uint8_t>(96 + (word >> 26));
}

/// mean + (u + v - 255) / 2, cut to a byte: u and v are the bytes of a half word.
std::uint8_t pixel_of(int mean, std::uint32_t half) {
  const int noise = static_cast<int>(half & 255) + static_cast<int>(half >> 8 & 255) - 255;
  return static_cast<std::uint8_t>(std::clamp(mean + noise / 2, 0, 255));
}

}  // namespace

MadeUpData::MadeUpData(const MadeUpShape& shape, std::uint64_t data_seed,
                       const SyntheticSource& source)
    : shape_(shape), data_seed_(data_seed), source_(source) {}

Result<MadeUpData> MadeUpData::create(const MadeUpShape& shape, std::uint64_t data_seed,
                                      const SyntheticSource& source) {
  BP_CHECK(shape.image_size() > 0 && shape.classes >= 2 && shape.classes <= 256,
           "a data set of a shape");
  MadeUpData data(shape, data_seed, source);
  const std::uint64_t count =
      shape.classes * cells(shape.height) * cells(shape.width) * shape.channels;
  data.words_.resize(count);
  BP_TRY(source.fill_blocking(data_seed, kMeansAt, bytes_of(data.words_)));
  data.means_.reserve(count);
  for (const std::uint32_t word : data.words_) data.means_.push_back(mean_of(word));
  return data;
}

Result<void> MadeUpData::draw(MadeUpPart part, std::uint64_t first, std::span<std::uint8_t> pixels,
                              std::span<std::uint8_t> labels) {
  BP_CHECK(pixels.size() == labels.size() * shape_.image_size(), "a label for every image");
  const std::uint64_t step = words_per_image(shape_);
  words_.resize(step * labels.size());
  const std::uint64_t at = part == MadeUpPart::kTraining ? kTrainingAt : kTestAt;
  BP_TRY(source_.fill_blocking(data_seed_, at + first * step, bytes_of(words_)));
  const std::uint64_t row_cells = cells(shape_.width) * shape_.channels;
  const std::uint64_t class_cells = cells(shape_.height) * row_cells;
  std::uint8_t* out = pixels.data();
  for (std::size_t image = 0; image < labels.size(); ++image) {
    const std::uint32_t* const words = words_.data() + image * step;
    const std::uint64_t label = std::uint64_t{words[0]} * shape_.classes >> 32;
    labels[image] = static_cast<std::uint8_t>(label);
    std::uint64_t value = 0;
    for (std::uint32_t y = 0; y < shape_.height; ++y) {
      const std::uint8_t* const row = means_.data() + label * class_cells + y / kCell * row_cells;
      for (std::uint32_t x = 0; x < shape_.width; ++x) {
        const std::uint8_t* const means = row + std::uint64_t{x / kCell} * shape_.channels;
        for (std::uint32_t channel = 0; channel < shape_.channels; ++channel, ++value) {
          *out++ = pixel_of(means[channel], words[1 + value / 2] >> (value % 2 * 16));
        }
      }
    }
  }
  return {};
}

}  // namespace beaverpond
