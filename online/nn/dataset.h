// Labelled images, and their encoding as words of the protocol.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "online/nn/idx.h"
#include "online/nn/job.h"

namespace beaverpond {

struct Dataset {
  IdxImages images;
  std::vector<std::uint8_t> labels;
};

/// Images of the size and channels that the model takes, or kConfig naming the file.
Result<IdxImages> read_images(const std::string& path, const ModelConfig& model);

/// Reads two IDX files and checks them against each other and the model. Errors: kIo, kConfig.
Result<Dataset> read_dataset(const std::string& images_path, const std::string& labels_path,
                             const ModelConfig& model);

/// Rows of the data set that the owner trains on, ascending. Errors: kConfig, when the range lies
/// outside the file or too few rows are left for one step.
Result<std::vector<std::uint32_t>> owned_rows(const DataOwner& owner, const Dataset& data);

/// A pixel of 0..255 as pixel/255 at scale f, rounded by integers only.
std::uint64_t pixel_word(std::uint8_t pixel, int fraction_bits);

/// Words of the rows' images [rows, height, width, 1] and one-hot labels [rows, classes], scale f.
std::vector<std::uint64_t> image_words(const Dataset& data, std::span<const std::uint32_t> rows,
                                       int fraction_bits);
std::vector<std::uint64_t> label_words(const Dataset& data, std::span<const std::uint32_t> rows,
                                       std::uint32_t classes, int fraction_bits);

/// The same for the float twin: pixel/255 is not rounded to f bits.
std::vector<double> image_reals(const Dataset& data, std::span<const std::uint32_t> rows,
                                int fraction_bits);
std::vector<double> label_reals(const Dataset& data, std::span<const std::uint32_t> rows,
                                std::uint32_t classes, int fraction_bits);

}  // namespace beaverpond
