// Writes small IDX files for tests.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "online/nn/idx.h"

namespace beaverpond {

inline std::string write_idx(const std::string& name, const std::vector<std::uint32_t>& header,
                             const std::vector<std::uint8_t>& bytes) {
  const std::string path = ::testing::TempDir() + "/" + name;
  std::ofstream out(path, std::ios::binary);
  for (const std::uint32_t word : header) {
    for (int shift = 24; shift >= 0; shift -= 8) out.put(static_cast<char>(word >> shift));
  }
  for (const std::uint8_t byte : bytes) out.put(static_cast<char>(byte));
  return path;
}

inline std::string write_idx_images(const std::string& name, const Samples& images) {
  return write_idx(name, {0x803, images.count, images.height, images.width}, images.pixels);
}

inline std::string write_idx_labels(const std::string& name,
                                    const std::vector<std::uint8_t>& labels) {
  return write_idx(name, {0x801, static_cast<std::uint32_t>(labels.size())}, labels);
}

template <class Label>
std::string write_idx_labels(const std::string& name, const std::vector<Label>& labels) {
  return write_idx_labels(name, std::vector<std::uint8_t>(labels.begin(), labels.end()));
}

}  // namespace beaverpond
