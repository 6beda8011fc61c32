// What GPUs were measured to do at ring products, by which a product's method is chosen: rows that
// `beaverpond-gpu-bench --tune` measures, keeps in a file, and backends read when they are made.
// They decide how fast a product is, never what comes out. The file's format:
// kernels/cuda/README.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "kernels/product_method.h"

namespace beaverpond {

/// In units a nanosecond.
struct ProductRates {
  double words_macs = 0;       ///< multiplications and additions of words, full tiles
  double residue_macs = 0;     ///< of bytes, full tiles, by our own kernel
  double converted_words = 0;  ///< words to residues, and back
  double launch_ns = 0;        ///< a kernel's own time
  double library_macs = 0;     ///< of bytes, by cuBLASLt; 0: not measured, and not used
  double library_words = 0;    ///< words recovered from the 32-bit sums that cuBLASLt writes
  double digit_macs = 0;       ///< of words, by digits, full tiles; 0: not measured, and not used
};

/// One device's row.
struct DeviceRates {
  std::string device;  ///< its name, whole
  ProductRates rates;
};

/// How a backend is to choose the method of a product.
struct ProductTuning {
  ProductMethod method = ProductMethod::kAuto;
  std::vector<DeviceRates> measured = {};  ///< they come before what is built in
  std::string origin = {};                 ///< where they were read, for a person
};

/// A file of rows. `name` is for errors. Errors: kConfig, with file, line and what is wrong.
Result<std::vector<DeviceRates>> parse_product_rates(const std::string& text,
                                                     const std::string& name);
/// What parse_product_rates reads.
std::string format_product_rates(const std::vector<DeviceRates>& rows);

/// The file of this user: $BEAVERPOND_GPU_RATES, else beaverpond/gpu-rates.toml in
/// $XDG_CONFIG_HOME or ~/.config. Empty: the environment names no place.
std::string product_rates_path();
/// The rows of that file; none where there is no file, unless BEAVERPOND_GPU_RATES names it.
/// Errors: kConfig (a file that cannot be read, or is none).
Result<ProductTuning> load_product_tuning();
/// Puts the row in the file of that path, in the place of the same device's. Makes its folder.
/// Errors: kConfig (what is there is no such file), kIo.
Result<void> save_product_rates(const DeviceRates& row, const std::string& path);

/// Times in seconds of products of n x n x n, and of 2n x 2n x 2n.
struct SquareTimes {
  std::uint64_t n = 0;
  double small = 0;
  double large = 0;
};
/// What was timed: the best rates of words and of digits (0: none), squares by residues and by
/// cuBLASLt (without it: nothing), and the time of a product so small that launches are all of it.
struct ProductTimes {
  double words_macs_per_second = 0;
  double digit_macs_per_second = 0;
  SquareTimes residues;
  std::optional<SquareTimes> library;
  double tiny_residues = 0;
};
/// The rates that explain the times: conversions grow with the square of n, products with the cube.
/// Errors: kConfig (times that no rates explain: the device was at other work).
Result<ProductRates> fit_product_rates(const ProductTimes& times);

}  // namespace beaverpond
