#include "online/nn/npy.h"

#include <bit>
#include <cstring>
#include <optional>

namespace beaverpond {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr std::size_t kMaxRank = 8;
static_assert(std::endian::native == std::endian::little, "arrays are copied as they are");

template <class T>
T load(std::string_view data, std::uint64_t index) {
  T value;
  std::memcpy(&value, data.data() + index * sizeof(T), sizeof(T));
  return value;
}

template <class T>
std::uint64_t load_word(std::string_view data, std::uint64_t index) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(load<T>(data, index)));
}

// The header is a Python dictionary; this reads the form that NumPy writes, keys in any order.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  bool parse() {
    if (!take('{')) return false;
    while (!take('}')) {
      const std::optional<std::string_view> key = quoted();
      if (!key.has_value() || !take(':')) return false;
      if (key == "descr") {
        descr = quoted();
        if (!descr.has_value()) return false;
      } else if (key == "fortran_order") {
        if (!boolean()) return false;
      } else if (key == "shape") {
        if (!tuple()) return false;
      } else {
        return false;
      }
      if (!take(',') && peek() != '}') return false;
    }
    return peek() == '\0' && descr.has_value() && fortran.has_value() && shape.has_value();
  }

  std::optional<std::string_view> descr;
  std::optional<bool> fortran;
  std::optional<std::vector<std::uint64_t>> shape;

 private:
  char peek() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n')) text_.remove_prefix(1);
    return text_.empty() ? '\0' : text_[0];
  }
  bool take(char c) {
    if (peek() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool take_word(std::string_view word) {
    peek();
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }
  std::optional<std::string_view> quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') return std::nullopt;
    const std::size_t end = text_.find(quote, 1);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view inside = text_.substr(1, end - 1);
    text_.remove_prefix(end + 1);
    return inside;
  }
  bool boolean() {
    if (take_word("False")) {
      fortran = false;
    } else if (take_word("True")) {
      fortran = true;
    } else {
      return false;
    }
    return true;
  }
  bool tuple() {
    shape.emplace();
    if (!take('(')) return false;
    while (!take(')')) {
      std::uint64_t size = 0;
      std::size_t digits = 0;
      for (peek(); digits < text_.size() && text_[digits] >= '0' && text_[digits] <= '9';) {
        size = size * 10 + static_cast<std::uint64_t>(text_[digits] - '0');
        if (++digits > 18) return false;
      }
      if (digits == 0 || shape->size() == kMaxRank) return false;
      text_.remove_prefix(digits);
      shape->push_back(size);
      if (!take(',') && peek() != ')') return false;
    }
    return true;
  }

  std::string_view text_;
};

bool set_type(std::string_view descr, NpyArray& array) {
  if (descr.size() != 3) return false;
  array.kind = descr[1];
  array.item_bytes = descr[2] - '0';
  const bool size_of_integer =
      array.item_bytes == 1 || array.item_bytes == 2 || array.item_bytes == 4;
  const bool known = array.kind == 'f' ? array.item_bytes == 4 || array.item_bytes == 8
                                       : (array.kind == 'u' || array.kind == 'i') &&
                                             (size_of_integer || array.item_bytes == 8);
  return known && (descr[0] == '<' || (descr[0] == '|' && array.item_bytes == 1));
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text = "[";
  for (const std::uint64_t size : shape) {
    if (text.size() > 1) text += ",";
    text += std::to_string(size);
  }
  return text + "]";
}

}  // namespace

double NpyArray::real(std::uint64_t i) const {
  if (kind == 'f') {
    return item_bytes == 8 ? load<double>(data, i) : static_cast<double>(load<float>(data, i));
  }
  const std::uint64_t value = word(i);
  return kind == 'u' ? static_cast<double>(value)
                     : static_cast<double>(static_cast<std::int64_t>(value));
}

std::uint64_t NpyArray::word(std::uint64_t i) const {
  const bool is_signed = kind == 'i';
  switch (item_bytes) {
    case 1: return is_signed ? load_word<std::int8_t>(data, i) : load<std::uint8_t>(data, i);
    case 2: return is_signed ? load_word<std::int16_t>(data, i) : load<std::uint16_t>(data, i);
    case 4: return is_signed ? load_word<std::int32_t>(data, i) : load<std::uint32_t>(data, i);
    default: return load<std::uint64_t>(data, i);
  }
}

std::string NpyArray::str() const {
  return shape_text(shape) + " of " + kind + std::to_string(item_bytes);
}

Result<NpyArray> parse_npy(std::string_view bytes, const std::string& name) {
  const auto error = [&name](const std::string& what) {
    return make_error(ErrorCode::kConfig, name + ": " + what);
  };
  if (bytes.size() < 12 || !bytes.starts_with(kMagic)) {
    return error("not an .npy array (no magic \"\\x93NUMPY\"); write it with numpy.save");
  }
  const int version = bytes[6];
  if (version < 1 || version > 3 || bytes[7] != 0) return error("an unknown version of .npy");
  const std::size_t start = version == 1 ? 10 : 12;
  const std::size_t size = version == 1 ? load<std::uint16_t>(bytes.substr(8), 0)
                                        : load<std::uint32_t>(bytes.substr(8), 0);
  if (size > bytes.size() - start) return error("truncated in its header; write it again");
  HeaderParser header(bytes.substr(start, size));
  if (!header.parse()) {
    return error("its header is not {'descr': .., 'fortran_order': .., 'shape': (..)}");
  }
  NpyArray array;
  if (!set_type(*header.descr, array)) {
    return error("type '" + std::string(*header.descr) +
                 "' is not read; convert with .astype to little-endian u1, u2, u4, u8, i1, i2, "
                 "i4, i8, f4 or f8");
  }
  if (*header.fortran) {
    return error("in Fortran order; save numpy.ascontiguousarray of it");
  }
  array.shape = std::move(*header.shape);
  array.data = bytes.substr(start + size);
  // Divides instead of multiplying, so that a damaged header cannot overflow.
  std::uint64_t room = array.data.size() / static_cast<std::size_t>(array.item_bytes);
  const std::uint64_t have = room;
  std::uint64_t count = 1;
  for (const std::uint64_t dim : array.shape) {
    if (dim == 0) return error("shape " + shape_text(array.shape) + " holds nothing");
    if (dim > room) {
      return error("shape " + shape_text(array.shape) + " needs more than the " +
                   std::to_string(have) + " elements in the file, which is truncated or damaged");
    }
    room /= dim;
    count *= dim;
  }
  if (count * static_cast<std::size_t>(array.item_bytes) != array.data.size()) {
    return error("shape " + shape_text(array.shape) + " needs " + std::to_string(count) +
                 " elements, the file holds " + std::to_string(array.data.size()) +
                 " bytes of them");
  }
  return array;
}

std::string npy_header(std::string_view type, const std::vector<std::uint64_t>& shape) {
  std::string header = "{'descr': '" + std::string(type) + "', 'fortran_order': False, 'shape': (";
  for (const std::uint64_t dim : shape) header += std::to_string(dim) + ", ";
  if (shape.size() > 1) header.resize(header.size() - 2);
  if (shape.size() == 1) header.pop_back();
  header += "), }";
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string out(kMagic);
  out += std::string("\x01\x00", 2);
  out += static_cast<char>(header.size() & 0xff);
  out += static_cast<char>(header.size() >> 8);
  return out + header;
}

std::string encode_npy(const Shape& shape, const std::vector<double>& values) {
  BP_CHECK(values.size() == shape.count(), "an array fills its shape");
  std::vector<std::uint64_t> dims;
  for (std::uint32_t i = 0; i < shape.rank; ++i) dims.push_back(shape[i]);
  std::string out = npy_header("<f8", dims);
  const std::size_t start = out.size();
  out.resize(start + values.size() * sizeof(double));
  if (!values.empty()) {
    std::memcpy(out.data() + start, values.data(), values.size() * sizeof(double));
  }
  return out;
}

}  // namespace beaverpond
