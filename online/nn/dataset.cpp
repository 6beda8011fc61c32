#include "online/nn/dataset.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "online/nn/config_section.h"
#include "online/nn/data_file.h"
#include "online/nn/fixed_word.h"

namespace beaverpond {
namespace {

// One table entry per pixel value, then a copy: pixels are encoded in every step.
template <class Word, class Encode>
void encode_images(const Samples& images, std::span<const std::uint32_t> rows,
                   const std::array<Word, 256>& table, const Encode& encode_real,
                   std::vector<Word>& out) {
  const std::uint64_t size = images.image_size();
  out.clear();
  out.reserve(rows.size() * size);
  for (const std::uint32_t row : rows) {
    BP_CHECK(row < images.count, "a row of the data set");
    const std::uint64_t end = (row + std::uint64_t{1}) * size;
    for (std::uint64_t i = row * size; i < end; ++i) {
      out.push_back(images.reals.empty() ? table[images.pixels[i]] : encode_real(images.reals[i]));
    }
  }
}

template <class Word>
void encode_labels(const Dataset& data, std::span<const std::uint32_t> rows, std::uint32_t classes,
                   int fraction_bits, std::vector<Word>& out) {
  out.assign(rows.size() * classes, Word{0});
  for (std::size_t i = 0; i < rows.size(); ++i) {
    BP_CHECK(data.labels[rows[i]] < classes, "a label is a class");
    out[i * classes + data.labels[rows[i]]] = static_cast<Word>(std::uint64_t{1} << fraction_bits);
  }
}

std::string shape_text(std::uint32_t height, std::uint32_t width, std::uint32_t channels) {
  if (height == 1 && width == 1) return std::to_string(channels) + " values";
  return std::to_string(height) + "x" + std::to_string(width) + "x" + std::to_string(channels);
}

Result<void> fit_to_model(DataFile& file, const ModelConfig& model) {
  Samples& samples = file.samples;
  const bool flat = samples.height == 1 && samples.width == 1;
  const bool same = samples.height == model.height && samples.width == model.width &&
                    samples.channels == model.channels;
  const std::uint64_t wanted = std::uint64_t{model.height} * model.width * model.channels;
  if (!same && !(flat && samples.channels == wanted)) {
    return make_error(
        ErrorCode::kConfig,
        file.path + ": rows of " + shape_text(samples.height, samples.width, samples.channels) +
            ", the model takes " + shape_text(model.height, model.width, model.channels) +
            (file.columns.empty() ? "; correct model.input"
                                  : "; correct model.input, or choose columns with data.features"));
  }
  samples.height = model.height;
  samples.width = model.width;
  samples.channels = model.channels;
  return {};
}

// IEEE double precision throughout, one rounding per operation: the same on every machine.
void scale(Samples& samples, const DataFormat& format) {
  if (!format.scales()) return;
  if (samples.reals.empty()) {
    samples.reals.assign(samples.pixels.begin(), samples.pixels.end());
    samples.pixels.clear();
  }
  const auto of_channel = [](const std::vector<double>& list, std::size_t channel, double none) {
    return list.empty() ? none : list[list.size() == 1 ? 0 : channel];
  };
  for (std::size_t i = 0; i < samples.reals.size(); ++i) {
    const std::size_t channel = i % samples.channels;
    const double centred = samples.reals[i] - of_channel(format.subtract, channel, 0);
    samples.reals[i] = centred / of_channel(format.divide_by, channel, 1);
  }
}

int size_bits(int fraction_bits) {
  return 62 - fraction_bits;
}

Result<void> check_values(const DataFile& file, const Samples& samples, int fraction_bits) {
  const std::uint64_t size = samples.image_size();
  for (std::size_t i = 0; i < samples.reals.size(); ++i) {
    const double value = samples.reals[i];
    if (fixed_word(value, fraction_bits, size_bits(fraction_bits)).has_value()) continue;
    const std::string where = file.where(static_cast<std::uint32_t>(i / size), i % size) + ": ";
    if (!std::isfinite(value)) {
      return make_error(ErrorCode::kConfig,
                        where + "NaN or infinite; correct the value or remove the row");
    }
    return make_error(
        ErrorCode::kConfig,
        where + number_text(value) +
            " is too large: with fraction_bits = " + std::to_string(fraction_bits) +
            " values must be below 2^" + std::to_string(62 - 2 * fraction_bits) +
            " in size; scale them with data.divide_by, or lower fixed_point.fraction_bits");
  }
  return {};
}

/// Data scaled down to nothing would train a net that sees nothing.
Result<void> check_not_lost(const std::string& path, const Samples& samples, int fraction_bits) {
  double largest = 0;
  for (const double value : samples.reals) largest = std::max(largest, std::fabs(value));
  if (largest == 0 || *fixed_word(largest, fraction_bits, 62) != 0) return {};
  return make_error(ErrorCode::kConfig,
                    path + ": the largest feature is " + number_text(largest) +
                        ", which is 0 with fraction_bits = " + std::to_string(fraction_bits) +
                        ": nothing of the data is left; make data.divide_by smaller");
}

Result<Dataset> read_fitting(const std::string& path, const Job& job, bool labelled) {
  BP_ASSIGN(DataFile file, read_data_file(path, job));
  // Before the shape: a label that is not found counts as a feature too many.
  if (labelled && file.labels.empty()) {
    return make_error(ErrorCode::kConfig, file.no_label.empty()
                                              ? path + ": no labels; name their file as well"
                                              : file.no_label);
  }
  BP_TRY(fit_to_model(file, job.model));
  Dataset data{std::move(file.samples), std::move(file.labels)};
  scale(data.images, job.data);
  file.samples = {0, job.model.height, job.model.width, {}, job.model.channels, {}};
  BP_TRY(check_values(file, data.images, job.fixed_point.fraction_bits));
  BP_TRY(check_not_lost(path, data.images, job.fixed_point.fraction_bits));
  return data;
}

}  // namespace

Result<Dataset> read_images(const std::string& path, const Job& job) {
  return read_fitting(path, job, false);
}

Result<Dataset> read_dataset(const std::string& images_path, const std::string& labels_path,
                             const Job& job) {
  BP_ASSIGN(Dataset data, read_fitting(images_path, job, labels_path.empty()));
  if (labels_path.empty()) return data;
  BP_ASSIGN(data.labels, read_label_file(labels_path, job));
  if (data.labels.size() != data.images.count) {
    return make_error(ErrorCode::kConfig, labels_path + ": " + std::to_string(data.labels.size()) +
                                              " labels for the " +
                                              std::to_string(data.images.count) + " rows of " +
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
                                              " rows; correct rows");
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

void put_image_words(const Dataset& data, std::span<const std::uint32_t> rows, int fraction_bits,
                     std::vector<std::uint64_t>& out) {
  std::array<std::uint64_t, 256> table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = pixel_word(static_cast<std::uint8_t>(i), fraction_bits);
  }
  const auto encode = [fraction_bits](double value) {
    const auto word = fixed_word(value, fraction_bits, size_bits(fraction_bits));
    BP_CHECK(word.has_value(), "read_images checked the values");
    return *word;
  };
  encode_images(data.images, rows, table, encode, out);
}

void put_label_words(const Dataset& data, std::span<const std::uint32_t> rows,
                     std::uint32_t classes, int fraction_bits, std::vector<std::uint64_t>& out) {
  encode_labels(data, rows, classes, fraction_bits, out);
}

std::vector<std::uint64_t> image_words(const Dataset& data, std::span<const std::uint32_t> rows,
                                       int fraction_bits) {
  std::vector<std::uint64_t> out;
  put_image_words(data, rows, fraction_bits, out);
  return out;
}

std::vector<std::uint64_t> label_words(const Dataset& data, std::span<const std::uint32_t> rows,
                                       std::uint32_t classes, int fraction_bits) {
  std::vector<std::uint64_t> out;
  put_label_words(data, rows, classes, fraction_bits, out);
  return out;
}

std::vector<double> image_reals(const Dataset& data, std::span<const std::uint32_t> rows,
                                int fraction_bits) {
  std::array<double, 256> table{};
  const double one = static_cast<double>(std::uint64_t{1} << fraction_bits);
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = static_cast<double>(i) / 255.0 * one;
  }
  std::vector<double> out;
  encode_images(
      data.images, rows, table, [one](double value) { return value * one; }, out);
  return out;
}

std::vector<double> label_reals(const Dataset& data, std::span<const std::uint32_t> rows,
                                std::uint32_t classes, int fraction_bits) {
  std::vector<double> out;
  encode_labels(data, rows, classes, fraction_bits, out);
  return out;
}

}  // namespace beaverpond
