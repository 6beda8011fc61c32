// Which product is fastest where.
#include <algorithm>
#include <limits>
#include <string_view>

#include "kernels/cuda/products.h"
#include "kernels/cuda/residue_tables.h"

namespace beaverpond::cuda {
namespace {

struct MeasuredDevice {
  std::string_view name;  ///< how the device's name begins
  int multiprocessors;
  ProductRates rates;
};

/// Rows that `beaverpond-gpu-bench --tune` printed.
constexpr MeasuredDevice kMeasured[] = {
    {"NVIDIA H100", 132, {2593, 438956, 53, 8604}},
    {"NVIDIA H200", 132, {2757, 457861, 50, 8196}},
};

double rounded(std::uint64_t size, std::uint64_t tile) {
  return static_cast<double>((size + tile - 1) / tile * tile);
}

}  // namespace

KnownRates rates_of(const DeviceProperties& device, const ProductTuning& tuning) {
  for (const DeviceRates& row : tuning.measured) {
    if (row.device == device.name) return {row.rates, "rates of " + tuning.origin};
  }
  const auto* const found =
      std::find_if(std::begin(kMeasured), std::end(kMeasured), [&](const MeasuredDevice& row) {
        return std::string_view(device.name).starts_with(row.name);
      });
  if (found != std::end(kMeasured)) {
    return {found->rates, "built-in rates of " + std::string(found->name)};
  }
  const MeasuredDevice& known = kMeasured[0];
  const double share = static_cast<double>(std::max(device.multiprocessors, 1)) /
                       static_cast<double>(known.multiprocessors);
  return {{known.rates.words_macs * share, known.rates.residue_macs * share,
           known.rates.converted_words * share, known.rates.launch_ns},
          "rates guessed from those of " + std::string(known.name)};
}

ProductMethod fastest_method(const ProductRates& rates, std::uint64_t m, std::uint64_t n,
                             std::uint64_t k) {
  const std::uint64_t tile_n = columns_of_tile(n);
  const std::uint64_t tile_m = tile_n <= 32 ? 128 : 64;
  const double words =
      rates.launch_ns + rounded(m, tile_m) * rounded(n, tile_n) * rounded(k, 16) / rates.words_macs;
  const double macs = kModuli * rounded(m, 128) * rounded(n, 128) * rounded(k, 64);
  const double operands = (static_cast<double>(m) + static_cast<double>(n)) * rounded(k, 64);
  const double results = static_cast<double>(m) * rounded(n, 16);
  const double residues = 4 * rates.launch_ns + macs / rates.residue_macs +
                          (operands + results) / rates.converted_words;
  const double library = rates.library_macs > 0 && rates.library_words > 0
                             ? 4 * rates.launch_ns + macs / rates.library_macs +
                                   operands / rates.converted_words + results / rates.library_words
                             : std::numeric_limits<double>::infinity();
  const std::uint64_t digit_m = tile_n == 16 ? 192 : tile_m;
  const double digits = rates.digit_macs > 0
                            ? rates.launch_ns + rounded(m, digit_m) * rounded(n, tile_n) *
                                                    rounded(k, 16) / rates.digit_macs
                            : std::numeric_limits<double>::infinity();
  const double least = std::min({words, residues, library, digits});
  if (least == words) return ProductMethod::kWords;
  if (least == residues) return ProductMethod::kResidues;
  return least == library ? ProductMethod::kLibrary : ProductMethod::kDigits;
}

}  // namespace beaverpond::cuda
