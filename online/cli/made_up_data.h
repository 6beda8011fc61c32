// Data sets that are made up: images of classes that differ in their means, under noise. Integers
// only, so that the same seed gives the same bytes everywhere.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "beaverpond/result.h"
#include "kernels/synthetic/source.h"

namespace beaverpond {

struct MadeUpShape {
  std::uint32_t height = 28;
  std::uint32_t width = 28;
  std::uint32_t channels = 1;
  std::uint32_t classes = 10;

  std::uint64_t image_size() const { return std::uint64_t{height} * width * channels; }
};

enum class MadeUpPart : std::uint8_t { kTraining, kTest };

/// The images of one seed. README.md says how its words become pixels.
class MadeUpData {
 public:
  /// Draws the classes' means. 2 to 256 classes, no size 0, at most 2^28 bytes of means (checked by
  /// the caller). `source` must outlive it. Errors: those of SyntheticSource.
  static Result<MadeUpData> create(const MadeUpShape& shape, std::uint64_t data_seed,
                                   const SyntheticSource& source);

  /// Images first, first + 1 .. of a part, NHWC, as many as there are `labels`; `pixels` holds just
  /// these. Errors: those of SyntheticSource.
  Result<void> draw(MadeUpPart part, std::uint64_t first, std::span<std::uint8_t> pixels,
                    std::span<std::uint8_t> labels);

 private:
  MadeUpData(const MadeUpShape& shape, std::uint64_t data_seed, const SyntheticSource& source);

  MadeUpShape shape_;
  std::uint64_t data_seed_;
  const SyntheticSource& source_;
  std::vector<std::uint8_t> means_;  ///< [class, cell row, cell column, channel]
  std::vector<std::uint32_t> words_;
};

}  // namespace beaverpond
