#include "online/nn/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "beaverpond/check.h"

namespace beaverpond {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMaxRank = 8;
constexpr std::size_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
static_assert(std::endian::native == std::endian::little, "tensors are copied as they are");

struct Entry {
  NamedTensor tensor;
  std::size_t item_bytes = 8;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

bool read_unsigned(const Json& list, std::vector<std::uint64_t>& out) {
  if (!list.is_array() || list.size() > kMaxRank) return false;
  for (const Json& item : list) {
    if (!item.is_number_unsigned()) return false;
    out.push_back(item.get<std::uint64_t>());
  }
  return true;
}

class Decoder {
 public:
  Decoder(std::string_view bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  Result<std::vector<NamedTensor>> decode() {
    BP_TRY(read_header());
    std::stable_sort(entries_.begin(), entries_.end(),
                     [](const Entry& a, const Entry& b) { return a.begin < b.begin; });
    std::uint64_t at = 0;
    std::vector<NamedTensor> tensors;
    for (Entry& entry : entries_) {
      if (entry.begin != at) {
        return error("tensor '" + entry.tensor.name + "' does not follow the one before it");
      }
      at = entry.end;
      copy_values(entry);
      tensors.push_back(std::move(entry.tensor));
    }
    if (at != bytes_.size()) return error("bytes that belong to no tensor");
    return tensors;
  }

 private:
  Error error(const std::string& what) const {
    return make_error(ErrorCode::kConfig, name_ + ": " + what);
  }

  // Leaves the tensors' bytes in bytes_.
  Result<void> read_header() {
    std::uint64_t size = 0;
    if (bytes_.size() < kLengthBytes) return error("not a .safetensors file: too short");
    std::memcpy(&size, bytes_.data(), kLengthBytes);
    bytes_.remove_prefix(kLengthBytes);
    if (size > kMaxHeaderBytes || size > bytes_.size()) {
      return error("a header of " + std::to_string(size) + " bytes, but " +
                   std::to_string(bytes_.size()) + " are left: truncated, or not .safetensors");
    }
    const Json header = Json::parse(bytes_.begin(), bytes_.begin() + size, nullptr, false);
    bytes_.remove_prefix(size);
    if (!header.is_object()) return error("its header is not a JSON object");
    for (const auto& [key, value] : header.items()) {
      if (key == "__metadata__") continue;
      BP_TRY(read_entry(key, value));
    }
    return {};
  }

  Result<void> read_entry(const std::string& key, const Json& value) {
    const std::string what = "tensor '" + key.substr(0, 100) + "': ";
    Entry entry;
    entry.tensor.name = key;
    std::vector<std::uint64_t> offsets;
    if (!value.is_object() || !value.contains("dtype") || !value["dtype"].is_string() ||
        !value.contains("shape") || !read_unsigned(value["shape"], entry.tensor.shape) ||
        !value.contains("data_offsets") || !read_unsigned(value["data_offsets"], offsets) ||
        offsets.size() != 2) {
      return error(what + "expected dtype, shape and data_offsets");
    }
    const auto& type = value["dtype"].get_ref<const std::string&>();
    if (type != "F64" && type != "F32") {
      return error(what + "type " + type.substr(0, 20) + " is not read; convert it to F32 or F64");
    }
    entry.item_bytes = type == "F64" ? 8 : 4;
    entry.begin = offsets[0];
    entry.end = offsets[1];
    if (entry.begin > entry.end || entry.end > bytes_.size()) {
      return error(what + "its bytes lie outside the file, which is truncated or damaged");
    }
    // Divides instead of multiplying, so that a damaged header cannot overflow.
    std::uint64_t room = (entry.end - entry.begin) / entry.item_bytes;
    std::uint64_t count = 1;
    for (const std::uint64_t dim : entry.tensor.shape) {
      if (dim == 0 || dim > room) return error(what + "its shape does not fit its bytes");
      room /= dim;
      count *= dim;
    }
    if (count * entry.item_bytes != entry.end - entry.begin) {
      return error(what + "its shape does not fit its bytes");
    }
    entry.tensor.values.resize(count);
    entries_.push_back(std::move(entry));
    return {};
  }

  void copy_values(Entry& entry) const {
    const char* data = bytes_.data() + entry.begin;
    std::vector<double>& values = entry.tensor.values;
    if (entry.item_bytes == 8) {
      std::memcpy(values.data(), data, values.size() * sizeof(double));
      return;
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      float value = 0;
      std::memcpy(&value, data + i * sizeof(float), sizeof(float));
      values[i] = static_cast<double>(value);
    }
  }

  std::string_view bytes_;
  const std::string& name_;
  std::vector<Entry> entries_;
};

}  // namespace

Result<std::vector<NamedTensor>> decode_safetensors(std::string_view bytes,
                                                    const std::string& name) {
  return Decoder(bytes, name).decode();
}

std::string encode_safetensors(const std::vector<NamedTensor>& tensors) {
  Json header = Json::object();
  std::uint64_t at = 0;
  for (const NamedTensor& tensor : tensors) {
    const std::uint64_t end = at + tensor.values.size() * sizeof(double);
    header[tensor.name] = {{"dtype", "F64"}, {"shape", tensor.shape}, {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t size = text.size();
  std::string out(kLengthBytes, '\0');
  std::memcpy(out.data(), &size, kLengthBytes);
  out += text;
  for (const NamedTensor& tensor : tensors) {
    out.append(reinterpret_cast<const char*>(tensor.values.data()),
               tensor.values.size() * sizeof(double));
  }
  return out;
}

}  // namespace beaverpond
