#include "kernels/product_rates.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

namespace beaverpond {
namespace {

constexpr std::string_view kRow = "[[device]]";
constexpr std::size_t kMostBytes = 1 << 16;
constexpr double kModuli = 18;

struct Key {
  std::string_view name;
  double ProductRates::*field;
  bool needed;
  std::string_view what;
};
constexpr std::array<Key, 7> kKeys = {{
    {"words_macs", &ProductRates::words_macs, true, "multiplications of words a ns"},
    {"residue_macs", &ProductRates::residue_macs, true, "of bytes a ns, own kernel"},
    {"converted_words", &ProductRates::converted_words, true, "words to residues and back, a ns"},
    {"launch_ns", &ProductRates::launch_ns, true, "ns of a launch"},
    {"library_macs", &ProductRates::library_macs, false, "of bytes a ns, cuBLASLt; 0: not used"},
    {"library_words", &ProductRates::library_words, false, "words from its sums, a ns"},
    {"digit_macs", &ProductRates::digit_macs, false, "of words a ns, by digits; 0: not used"},
}};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) {
    text.remove_suffix(1);
  }
  return text;
}

/// Without what follows a # outside quotes.
std::string_view without_comment(std::string_view line) {
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') quoted = !quoted;
    if (line[i] == '#' && !quoted) return line.substr(0, i);
  }
  return line;
}

/// The subset of TOML that the file is: comments, [[device]], and keys with a name in quotes or a
/// number.
class Reader {
 public:
  explicit Reader(const std::string& name) : name_(name) {}

  Result<void> line(std::string_view text) {
    number_ += 1;
    text = trimmed(without_comment(text));
    if (text.empty()) return {};
    if (text == kRow) {
      BP_TRY(finish_row());
      rows_.emplace_back();
      row_line_ = number_;
      seen_.fill(false);
      return {};
    }
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) {
      return error("'" + std::string(text) + "' is neither [[device]] nor a key with a value");
    }
    if (rows_.empty()) return error("a key before the first [[device]]");
    return value(trimmed(text.substr(0, equals)), trimmed(text.substr(equals + 1)));
  }

  Result<std::vector<DeviceRates>> finish() {
    BP_TRY(finish_row());
    return std::move(rows_);
  }

 private:
  Error error(const std::string& what) const { return error_at(number_, what); }
  Error error_at(int line, const std::string& what) const {
    return make_error(ErrorCode::kConfig,
                      name_ + ", line " + std::to_string(line) + ": " + what +
                          "; measure again with beaverpond-gpu-bench --tune, or remove the file");
  }

  Result<void> value(std::string_view key, std::string_view text) {
    if (key == "name") {
      if (text.size() < 3 || text.front() != '"' || text.back() != '"' ||
          text.substr(1, text.size() - 2).find('"') != std::string_view::npos) {
        return error("the name of a device stands in quotes");
      }
      if (!rows_.back().device.empty()) return error("a second name");
      rows_.back().device = text.substr(1, text.size() - 2);
      return {};
    }
    const auto* const found = std::find_if(kKeys.begin(), kKeys.end(),
                                           [&](const Key& known) { return known.name == key; });
    if (found == kKeys.end()) return error("there is no key '" + std::string(key) + "'");
    const auto index = static_cast<std::size_t>(found - kKeys.begin());
    if (std::exchange(seen_[index], true)) return error("a second " + std::string(key));
    double number = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (status != std::errc() || end != text.data() + text.size() || !std::isfinite(number) ||
        number < 0 || (found->needed && number == 0)) {
      return error(std::string(key) + " = " + std::string(text) + " is no rate");
    }
    rows_.back().rates.*(found->field) = number;
    return {};
  }

  Result<void> finish_row() {
    if (rows_.empty()) return {};
    const DeviceRates& row = rows_.back();
    if (row.device.empty()) return error_at(row_line_, "a device without a name");
    for (std::size_t i = 0; i < kKeys.size(); ++i) {
      if (kKeys[i].needed && !seen_[i]) {
        return error_at(row_line_, row.device + " lacks " + std::string(kKeys[i].name));
      }
    }
    if ((row.rates.library_macs > 0) != (row.rates.library_words > 0)) {
      return error_at(row_line_,
                      row.device + " has one of library_macs and library_words without the other");
    }
    const auto same = [&](const DeviceRates& other) { return other.device == row.device; };
    if (std::any_of(rows_.begin(), rows_.end() - 1, same)) {
      return error_at(row_line_, row.device + " stands there twice");
    }
    return {};
  }

  const std::string& name_;
  int number_ = 0;
  int row_line_ = 0;
  std::vector<DeviceRates> rows_;
  std::array<bool, kKeys.size()> seen_{};
};

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMostBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad()) {
    return make_error(ErrorCode::kConfig, "cannot read the rates of products in " + path +
                                              "; see BEAVERPOND_GPU_RATES");
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMostBytes) {
    return make_error(ErrorCode::kConfig, path + " is too long to be rates of products");
  }
  return text;
}

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// t(n) = cubes n^3 + squares n^2, from two times. Seconds.
Result<std::pair<double, double>> grow(const SquareTimes& times) {
  const auto n = static_cast<double>(times.n);
  const double cubes = (times.large - 4 * times.small) / (4 * n * n * n);
  const double squares = (times.small - cubes * n * n * n) / (n * n);
  if (!(cubes > 0) || !(squares > 0)) {
    return make_error(ErrorCode::kConfig,
                      "the times of products do not grow as products do; measure again while the "
                      "device has no other work");
  }
  return std::pair(cubes, squares);
}

}  // namespace

Result<std::vector<DeviceRates>> parse_product_rates(const std::string& text,
                                                     const std::string& name) {
  Reader reader(name);
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) BP_TRY(reader.line(line));
  return reader.finish();
}

std::string format_product_rates(const std::vector<DeviceRates>& rows) {
  std::string text = "# What GPUs do at ring products: by beaverpond-gpu-bench --tune.\n";
  for (const DeviceRates& row : rows) {
    text += "\n" + std::string(kRow) + "\nname = \"" + row.device + "\"\n";
    for (const Key& key : kKeys) {
      std::array<char, 32> number{};
      const auto end = std::to_chars(number.data(), number.data() + number.size(),
                                     row.rates.*(key.field), std::chars_format::general, 6);
      text += std::string(key.name) + " = " + std::string(number.data(), end.ptr) + "  # " +
              std::string(key.what) + "\n";
    }
  }
  return text;
}

std::string product_rates_path() {
  if (const std::string named = environment("BEAVERPOND_GPU_RATES"); !named.empty()) return named;
  constexpr const char* kFile = "/beaverpond/gpu-rates.toml";
  const std::string folder = environment("XDG_CONFIG_HOME");
  if (!folder.empty()) return folder + kFile;
  const std::string home = environment("HOME");
  return home.empty() ? "" : home + "/.config" + kFile;
}

Result<ProductTuning> load_product_tuning() {
  ProductTuning tuning;
  const std::string path = product_rates_path();
  std::error_code ignored;
  if (path.empty() ||
      (environment("BEAVERPOND_GPU_RATES").empty() && !std::filesystem::exists(path, ignored))) {
    return tuning;
  }
  BP_ASSIGN(const std::string text, read_file(path));
  BP_ASSIGN(tuning.measured, parse_product_rates(text, path));
  tuning.origin = path;
  return tuning;
}

Result<void> save_product_rates(const DeviceRates& row, const std::string& path) {
  std::vector<DeviceRates> rows;
  std::error_code failed;
  if (std::filesystem::exists(path, failed)) {
    BP_ASSIGN(const std::string text, read_file(path));
    BP_ASSIGN(rows, parse_product_rates(text, path));
  }
  std::erase_if(rows, [&](const DeviceRates& other) { return other.device == row.device; });
  rows.push_back(row);
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, failed);
  // Whole or not at all: backends may be reading.
  const std::string fresh = path + ".new";
  std::ofstream file(fresh, std::ios::binary | std::ios::trunc);
  file << format_product_rates(rows);
  file.close();
  if (file) std::filesystem::rename(fresh, path, failed);
  if (!file || failed) {
    return make_error(ErrorCode::kIo,
                      "cannot write " + path + "; name another file in BEAVERPOND_GPU_RATES");
  }
  return {};
}

Result<ProductRates> fit_product_rates(const ProductTimes& times) {
  ProductRates rates;
  BP_ASSIGN(const auto own, grow(times.residues));
  rates.words_macs = times.words_macs_per_second * 1e-9;
  rates.digit_macs = times.digit_macs_per_second * 1e-9;
  rates.residue_macs = kModuli / own.first * 1e-9;
  rates.converted_words = 3 / own.second * 1e-9;
  rates.launch_ns = times.tiny_residues / 4 * 1e9;
  if (!times.library.has_value()) return rates;
  BP_ASSIGN(const auto library, grow(*times.library));
  rates.library_macs = kModuli / library.first * 1e-9;
  // Both operands are converted as ever. What is left is the way back, from four bytes a sum; where
  // noise leaves nothing, a quarter of the other way's rate.
  const double back = library.second * 1e9 - 2 / rates.converted_words;
  rates.library_words = back > 0 ? 1 / back : rates.converted_words / 4;
  return rates;
}

}  // namespace beaverpond
