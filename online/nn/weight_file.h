// Trained weights on disk: the format is a table in online/nn/README.md. Equal weights give equal
// bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "beaverpond/shape.h"

namespace beaverpond {

struct WeightTensor {
  Shape shape;
  int scale_bits = 0;
  std::vector<std::uint64_t> words;

  friend bool operator==(const WeightTensor&, const WeightTensor&) = default;
};

/// The file's bytes. Each tensor's words must fill its shape.
std::vector<std::uint8_t> encode_weights(const std::vector<WeightTensor>& tensors);

/// Accepts exactly what encode_weights writes. Errors: kConfig, with the offset; `name` is the
/// file's, for messages.
Result<std::vector<WeightTensor>> decode_weights(std::span<const std::uint8_t> bytes,
                                                 const std::string& name);

/// SHA-256 of encode_weights, lower-case hexadecimal: two runs trained the same weights if and only
/// if their names agree.
std::string weights_sha256(const std::vector<WeightTensor>& tensors);

/// Writes beside the file first and then renames, so that a crash leaves no half of it.
/// Errors: kIo, kNoSpace.
Result<void> write_weights(const std::vector<WeightTensor>& tensors, const std::string& path);
/// Errors: kIo, kConfig.
Result<std::vector<WeightTensor>> read_weights(const std::string& path);

}  // namespace beaverpond
