#include "online/nn/dataset.h"

#include <algorithm>
#include <array>

namespace beaverpond {
namespace {

// One table entry per pixel value, then a copy: pixels are encoded in every step.
template <class Word>
std::vector<Word> encode_images(const Dataset& data, std::span<const std::uint32_t> rows,
                                const std::array<Word, 256>& table) {
  const std::uint64_t size = data.images.image_size();
  std::vector<Word> out;
  out.reserve(rows.size() * size);
  for (const std::uint32_t row : rows) {
    BP_CHECK(row < data.images.count, "a row of the data set");
    const std::uint8_t* pixels = data.images.pixels.data() + row * size;
    for (std::uint64_t i = 0; i < size; ++i) out.push_back(table[pixels[i]]);
  }
  return out;
}

template <class Word>
std::vector<Word> encode_labels(const Dataset& data, std::span<const std::uint32_t> rows,
                                std::uint32_t classes, int fraction_bits) {
  std::vector<Word> out(rows.size() * classes, Word{0});
  for (std::size_t i = 0; i < rows.size(); ++i) {
    BP_CHECK(data.labels[rows[i]] < classes, "a label is a class");
    out[i * classes + data.labels[rows[i]]] = static_cast<Word>(std::uint64_t{1} << fraction_bits);
  }
  return out;
}

std::string size_text(std::uint32_t height, std::uint32_t width) {
  return std::to_string(height) + "x" + std::to_string(width);
}

}  // namespace

Result<IdxImages> read_images(const std::string& path, const ModelConfig& model) {
  BP_ASSIGN(IdxImages images, read_idx_images(path));
  if (images.height == model.height && images.width == model.width && model.channels == 1) {
    return images;
  }
  return make_error(ErrorCode::kConfig,
                    path + ": images of " + size_text(images.height, images.width) +
                        " and one channel, the model takes " +
                        size_text(model.height, model.width) + " and " +
                        std::to_string(model.channels) + "; correct model.input");
}

Result<Dataset> read_dataset(const std::string& images_path, const std::string& labels_path,
                             const ModelConfig& model) {
  Dataset data;
  BP_ASSIGN(data.images, read_images(images_path, model));
  BP_ASSIGN(data.labels, read_idx_labels(labels_path, model.classes()));
  if (data.labels.size() != data.images.count) {
    return make_error(ErrorCode::kConfig, labels_path + ": " + std::to_string(data.labels.size()) +
                                              " labels for the " +
                                              std::to_string(data.images.count) + " images of " +
                                              images_path + "; give the two files of one data set");
  }
  return data;
}

Result<std::vector<std::uint32_t>> owned_rows(const DataOwner& owner, const Dataset& data) {
  const std::string who = "data.owner of player " + std::to_string(owner.player) + ": ";
  const RowRange range = owner.rows.value_or(RowRange{0, data.images.count});
  if (range.begin >= range.end || range.end > data.images.count) {
    return make_error(ErrorCode::kConfig, who + "rows [" + std::to_string(range.begin) + ", " +
                                              std::to_string(range.end) + ") are not in " +
                                              owner.train_images + ", which has " +
                                              std::to_string(data.images.count) +
                                              " images; correct rows");
  }
  std::vector<std::uint32_t> rows;
  for (std::uint32_t row = range.begin; row < range.end; ++row) {
    const std::vector<std::uint32_t>& classes = owner.classes;
    if (classes.empty() ||
        std::find(classes.begin(), classes.end(), data.labels[row]) != classes.end()) {
      rows.push_back(row);
    }
  }
  if (rows.size() < owner.rows_per_step || rows.empty()) {
    return make_error(ErrorCode::kConfig,
                      who + std::to_string(rows.size()) + " rows are left by rows and classes, " +
                          std::to_string(owner.rows_per_step) +
                          " are needed per step; widen rows or classes, or lower rows_per_step");
  }
  return rows;
}

std::uint64_t pixel_word(std::uint8_t pixel, int fraction_bits) {
  return ((std::uint64_t{pixel} << fraction_bits) + 127) / 255;
}

std::vector<std::uint64_t> image_words(const Dataset& data, std::span<const std::uint32_t> rows,
                                       int fraction_bits) {
  std::array<std::uint64_t, 256> table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = pixel_word(static_cast<std::uint8_t>(i), fraction_bits);
  }
  return encode_images(data, rows, table);
}

std::vector<std::uint64_t> label_words(const Dataset& data, std::span<const std::uint32_t> rows,
                                       std::uint32_t classes, int fraction_bits) {
  return encode_labels<std::uint64_t>(data, rows, classes, fraction_bits);
}

std::vector<double> image_reals(const Dataset& data, std::span<const std::uint32_t> rows,
                                int fraction_bits) {
  std::array<double, 256> table{};
  const double one = static_cast<double>(std::uint64_t{1} << fraction_bits);
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = static_cast<double>(i) / 255.0 * one;
  }
  return encode_images(data, rows, table);
}

std::vector<double> label_reals(const Dataset& data, std::span<const std::uint32_t> rows,
                                std::uint32_t classes, int fraction_bits) {
  return encode_labels<double>(data, rows, classes, fraction_bits);
}

}  // namespace beaverpond
