#include "online/nn/data_file.h"

#include <algorithm>
#include <optional>

#include "offline/plan/file.h"
#include "online/nn/idx.h"
#include "online/nn/npy.h"
#include "online/nn/zip_file.h"

namespace beaverpond {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 33;

Error config_error(const std::string& path, const std::string& what) {
  return make_error(ErrorCode::kConfig, path + ": " + what);
}

bool is_array(const std::string& path) {
  return path.ends_with(".npy") || path.ends_with(".npz") ||
         path.find(".npz:") != std::string::npos;
}

// The .npy bytes of "x.npy", "x.npz" with a single member, or "x.npz:member".
Result<std::string> read_array_bytes(const std::string& path) {
  if (path.ends_with(".npy")) return read_small_file(path, kMaxBytes);
  const std::size_t colon = path.rfind(".npz:");
  const bool named = colon != std::string::npos;
  const std::string file = named ? path.substr(0, colon + 4) : path;
  std::string member = named ? path.substr(colon + 5) : "";
  BP_ASSIGN(const std::string archive, read_small_file(file, kMaxBytes));
  BP_ASSIGN(const std::vector<std::string> names, zip_names(archive, file));
  std::string list;
  for (const std::string& name : names) {
    if (list.size() > 200) {
      list += ", ..";
      break;
    }
    list += (list.empty() ? "" : ", ") + name.substr(0, name.rfind(".npy"));
  }
  if (!named && names.size() == 1) return read_zip_member(archive, names[0], file);
  if (!named) {
    return config_error(file, "holds " + std::to_string(names.size()) + " arrays (" + list +
                                  "); name one as " + file + ":NAME");
  }
  for (const std::string& name : names) {
    if (name == member || name == member + ".npy") return read_zip_member(archive, name, file);
  }
  return config_error(file, "no array '" + member + "'; it holds " + list);
}

Result<DataFile> read_array(const std::string& path) {
  BP_ASSIGN(const std::string bytes, read_array_bytes(path));
  BP_ASSIGN(const NpyArray array, parse_npy(bytes, path));
  const std::size_t rank = array.shape.size();
  const auto too_large = [](std::uint64_t size) { return size > UINT32_MAX; };
  if (rank < 2 || rank > 4 || std::any_of(array.shape.begin(), array.shape.end(), too_large)) {
    return config_error(path, "an array " + array.str() +
                                  "; give [rows, features], [rows, height, width] or [rows, "
                                  "height, width, channels]");
  }
  DataFile file;
  file.path = path;
  Samples& samples = file.samples;
  samples.count = static_cast<std::uint32_t>(array.shape[0]);
  samples.height = rank == 2 ? 1 : static_cast<std::uint32_t>(array.shape[1]);
  samples.width = rank == 2 ? 1 : static_cast<std::uint32_t>(array.shape[2]);
  samples.channels = rank == 3 ? 1 : static_cast<std::uint32_t>(array.shape.back());
  if (array.is_bytes()) {
    samples.pixels.assign(array.data.begin(), array.data.end());
  } else {
    samples.reals.reserve(array.count());
    for (std::uint64_t i = 0; i < array.count(); ++i) samples.reals.push_back(array.real(i));
  }
  return file;
}

Result<std::vector<std::uint32_t>> read_label_array(const std::string& path,
                                                    std::uint32_t classes) {
  BP_ASSIGN(const std::string bytes, read_array_bytes(path));
  BP_ASSIGN(const NpyArray array, parse_npy(bytes, path));
  const bool column = array.shape.size() == 2 && array.shape[1] == 1;
  if ((array.shape.size() != 1 && !column) || array.kind == 'f' || array.shape[0] > UINT32_MAX) {
    return config_error(path, "an array " + array.str() +
                                  "; labels are a [rows] array of integers: the class of each row");
  }
  std::vector<std::uint32_t> labels;
  labels.reserve(array.count());
  for (std::uint64_t i = 0; i < array.count(); ++i) {
    const std::uint64_t label = array.word(i);
    if (label >= classes) {
      const bool negative = array.kind == 'i' && label >> 63 != 0;
      return config_error(path, "row " + std::to_string(i) + ": label " +
                                    (negative ? std::to_string(static_cast<std::int64_t>(label))
                                              : std::to_string(label)) +
                                    " is no class; the model's are 0.." +
                                    std::to_string(classes - 1));
    }
    labels.push_back(static_cast<std::uint32_t>(label));
  }
  return labels;
}

}  // namespace

std::string DataFile::where(std::uint32_t row, std::uint64_t value) const {
  if (!columns.empty()) {
    return path + ":" + std::to_string(lines[row]) + ": column '" + columns[value] + "'";
  }
  std::string text = path + ": row " + std::to_string(row);
  if (samples.height == 1 && samples.width == 1) return text + ", column " + std::to_string(value);
  const std::uint64_t pixel = value / samples.channels;
  return text + ", pixel [" + std::to_string(pixel / samples.width) + ", " +
         std::to_string(pixel % samples.width) + "], channel " +
         std::to_string(value % samples.channels);
}

Result<DataFile> read_data_file(const std::string& path, const Job& job) {
  if (path.ends_with(".csv")) return read_table(path, job);
  if (is_array(path)) return read_array(path);
  DataFile file;
  file.path = path;
  BP_ASSIGN(file.samples, read_idx_images(path));
  return file;
}

Result<std::vector<std::uint32_t>> read_label_file(const std::string& path, const Job& job) {
  if (path.ends_with(".csv")) {
    return config_error(path,
                        "a table is no file of labels; give table and labels as one CSV file "
                        "(train_data, test_data) or the labels as .npy");
  }
  if (is_array(path)) return read_label_array(path, job.model.classes());
  BP_ASSIGN(const std::vector<std::uint8_t> labels, read_idx_labels(path, job.model.classes()));
  return std::vector<std::uint32_t>(labels.begin(), labels.end());
}

}  // namespace beaverpond
