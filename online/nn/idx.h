// Reads the IDX files of MNIST and Fashion-MNIST, plain or compressed with gzip.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "online/nn/samples.h"

namespace beaverpond {

/// Grey images: unsigned bytes of rank 3 (magic 0x00000803). Errors: kIo for a file that is missing
/// or damaged, kConfig for one that is something else; the message names file, offset, what was
/// expected and what was found.
Result<Samples> read_idx_images(const std::string& path);

/// Reads unsigned bytes of rank 1 (magic 0x00000801) and checks that each label is below `classes`.
/// Errors: as above, and kConfig for a label out of range.
Result<std::vector<std::uint8_t>> read_idx_labels(const std::string& path, std::uint32_t classes);

}  // namespace beaverpond
