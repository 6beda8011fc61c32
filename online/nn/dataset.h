// Labelled images, and their encoding as words of the protocol.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "online/nn/job.h"
#include "online/nn/samples.h"

namespace beaverpond {

struct Dataset {
  Samples images;
  std::vector<std::uint32_t> labels;  ///< one per row, or none
};

/// Rows as the model takes them, scaled as the job says, each value one that the fixed point holds:
/// below 2^(62-2f) in size, so that a product with a weight of 1 stays in the domain. Without
/// labels, unless the file is a table with the label's column. A row of height * width * channels
/// plain values is taken as an image. Errors: kIo, kConfig, naming file and place.
Result<Dataset> read_images(const std::string& path, const Job& job);

/// The same with labels, of a file of their own or (where `labels_path` is empty) of the table's
/// column data.label. Errors: kIo, kConfig.
Result<Dataset> read_dataset(const std::string& images_path, const std::string& labels_path,
                             const Job& job);

/// Rows of the data set that the owner trains on, ascending. Errors: kConfig, when the range lies
/// outside the file or too few rows are left for one step.
Result<std::vector<std::uint32_t>> owned_rows(const DataOwner& owner, const Dataset& data);

/// A pixel of 0..255 as pixel/255 at scale f, rounded by integers only.
std::uint64_t pixel_word(std::uint8_t pixel, int fraction_bits);

/// Words of the rows' images [rows, height, width, channels] and one-hot labels [rows, classes],
/// scale f.
std::vector<std::uint64_t> image_words(const Dataset& data, std::span<const std::uint32_t> rows,
                                       int fraction_bits);
std::vector<std::uint64_t> label_words(const Dataset& data, std::span<const std::uint32_t> rows,
                                       std::uint32_t classes, int fraction_bits);

/// The same into a vector that is used again and keeps its memory.
void put_image_words(const Dataset& data, std::span<const std::uint32_t> rows, int fraction_bits,
                     std::vector<std::uint64_t>& out);
void put_label_words(const Dataset& data, std::span<const std::uint32_t> rows,
                     std::uint32_t classes, int fraction_bits, std::vector<std::uint64_t>& out);

/// The same for the float twin: nothing is rounded to f bits.
std::vector<double> image_reals(const Dataset& data, std::span<const std::uint32_t> rows,
                                int fraction_bits);
std::vector<double> label_reals(const Dataset& data, std::span<const std::uint32_t> rows,
                                std::uint32_t classes, int fraction_bits);

}  // namespace beaverpond
