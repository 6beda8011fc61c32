// NumPy's .npy arrays: bytes, integers and floats, little endian, C order.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "beaverpond/result.h"
#include "beaverpond/shape.h"

namespace beaverpond {

struct NpyArray {
  char kind = 'u';     ///< u: unsigned, i: signed, f: floating point
  int item_bytes = 1;  ///< u and i: 1, 2, 4, 8; f: 4, 8
  std::vector<std::uint64_t> shape;
  std::string_view data;  ///< of the parsed bytes; as long as the shape says

  std::uint64_t count() const { return data.size() / static_cast<std::size_t>(item_bytes); }
  bool is_bytes() const { return kind == 'u' && item_bytes == 1; }
  /// Element `i`, row-major; of 64-bit integers the nearest double.
  double real(std::uint64_t i) const;
  /// Element `i` as a 64-bit word, integers only, sign-extended.
  std::uint64_t word(std::uint64_t i) const;
  /// "[60000,28,28] of u1".
  std::string str() const;
};

/// `bytes` must outlive the result; `name` is the file's, for messages. Errors: kConfig for other
/// types, big endian, Fortran order, sizes of zero, and data that is shorter or longer than the
/// shape.
Result<NpyArray> parse_npy(std::string_view bytes, const std::string& name);

/// What stands before the data of an array, version 1.0. `type` is NumPy's name: "|u1", "<f8".
std::string npy_header(std::string_view type, const std::vector<std::uint64_t>& shape);

/// The file of an array of f8 values; `values` must fill the shape.
std::string encode_npy(const Shape& shape, const std::vector<double>& values);

}  // namespace beaverpond
