// Tables in CSV files as samples.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

#include "offline/plan/file.h"
#include "online/nn/config_section.h"
#include "online/nn/csv.h"
#include "online/nn/data_file.h"

namespace beaverpond {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 33;

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (text.size() > 200) return text + ", ..";
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

// Cells go into messages, cut short.
std::string quoted(const std::string& text) {
  return "'" + (text.size() > 40 ? text.substr(0, 40) + ".." : text) + "'";
}

// Correctly rounded by the standard library, the same on every machine.
std::from_chars_result parse_real(std::string_view text, double& value) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  return std::from_chars(text.data(), text.data() + text.size(), value);
}

bool is_number(const std::string& text) {
  double value = 0;
  const std::from_chars_result result = parse_real(text, value);
  return !text.empty() && result.ec == std::errc() && result.ptr == text.data() + text.size();
}

class TableReader {
 public:
  TableReader(std::string_view text, const std::string& path, const Job& job)
      : csv_(text, path), job_(job) {
    file_.path = path;
    for (std::uint32_t i = 0; i < job.data.label_names.size(); ++i) {
      classes_[job.data.label_names[i]] = i;
    }
  }

  Result<DataFile> read() {
    BP_TRY(read_header());
    std::vector<std::string> fields;
    for (;;) {
      BP_ASSIGN(const bool more, csv_.next(fields));
      if (!more) break;
      if (fields.size() != header_.size()) {
        return error(std::to_string(fields.size()) + (fields.size() == 1 ? " field" : " fields") +
                     ", the header names " + std::to_string(header_.size()) +
                     " columns; complete or remove the line");
      }
      if (file_.lines.size() == UINT32_MAX) return error("more than 2^32 - 1 rows");
      file_.lines.push_back(csv_.line());
      BP_TRY(read_row(fields));
    }
    if (file_.lines.empty()) return error("no rows after the header");
    Samples& samples = file_.samples;
    samples.count = static_cast<std::uint32_t>(file_.lines.size());
    samples.height = samples.width = 1;
    samples.channels = static_cast<std::uint32_t>(features_.size());
    return std::move(file_);
  }

 private:
  Error error(const std::string& what) const {
    return make_error(ErrorCode::kConfig,
                      file_.path + ":" + std::to_string(csv_.line()) + ": " + what);
  }
  Error cell_error(std::size_t column, const std::string& what) const {
    return error("column '" + header_[column] + "': " + what);
  }

  Result<void> read_header() {
    BP_ASSIGN(const bool some, csv_.next(header_));
    if (!some) {
      return make_error(ErrorCode::kConfig,
                        file_.path + ": empty; write a line of column names, then the rows");
    }
    if (std::all_of(header_.begin(), header_.end(), is_number)) {
      return error("numbers where the columns' names belong; put a line of names first");
    }
    std::vector<std::string> sorted = header_;
    std::sort(sorted.begin(), sorted.end());
    if (sorted[0].empty()) return error("a column without a name; name every column");
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) {
      return error("two columns are named " + quoted(*twice) + "; rename one");
    }
    const std::string& label = job_.data.label;
    if (!label.empty()) label_ = find_column(label);
    if (!label_.has_value()) {
      file_.no_label = label.empty() ? error("no labels; name their column with data.label").message
                                     : missing(label, "data.label").message;
    }
    for (std::size_t i = 0; job_.data.features.empty() && i < header_.size(); ++i) {
      if (label_ != i) features_.push_back(i);
    }
    for (const std::string& name : job_.data.features) {
      const std::optional<std::size_t> column = find_column(name);
      if (!column.has_value()) return missing(name, "data.features");
      features_.push_back(*column);
    }
    if (features_.empty()) return error("no columns but the label");
    for (const std::size_t i : features_) file_.columns.push_back(header_[i]);
    return {};
  }

  std::optional<std::size_t> find_column(const std::string& name) const {
    const auto at = std::find(header_.begin(), header_.end(), name);
    if (at == header_.end()) return std::nullopt;
    return static_cast<std::size_t>(at - header_.begin());
  }

  Error missing(const std::string& name, const char* field) const {
    const std::vector<std::string_view> names(header_.begin(), header_.end());
    return error("no column " + quoted(name) + " (" + field + ")" + did_you_mean(name, names) +
                 "; the columns are " + listed(header_));
  }

  Result<void> read_row(const std::vector<std::string>& fields) {
    for (const std::size_t i : features_) {
      const std::string& text = fields[i];
      if (text.empty()) return cell_error(i, "empty; fill it in or remove the row");
      double value = 0;
      const std::from_chars_result result = parse_real(text, value);
      if (result.ec == std::errc::invalid_argument || result.ptr != text.data() + text.size()) {
        return cell_error(i, quoted(text) +
                                 " is not a number; encode it as one or more columns "
                                 "of numbers, or leave the column out (data.features)");
      }
      if (result.ec != std::errc() || !std::isfinite(value)) {
        return cell_error(i, quoted(text) + " is not a finite number; correct or remove the row");
      }
      file_.samples.reals.push_back(value);
    }
    if (!label_.has_value()) return {};
    return read_label(fields[*label_]);
  }

  Result<void> read_label(const std::string& text) {
    if (!classes_.empty()) {
      const auto at = classes_.find(text);
      if (at == classes_.end()) {
        const std::vector<std::string>& names = job_.data.label_names;
        return cell_error(*label_, quoted(text) + " is not in data.label_names" +
                                       did_you_mean(text, {names.begin(), names.end()}) +
                                       "; they are " + listed(names));
      }
      file_.labels.push_back(at->second);
      return {};
    }
    std::uint32_t label = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), label);
    if (result.ec != std::errc() || result.ptr != text.data() + text.size() ||
        label >= job_.model.classes()) {
      return cell_error(*label_, quoted(text) + " is no class; the model's are 0.." +
                                     std::to_string(job_.model.classes() - 1) +
                                     ", or list texts in data.label_names");
    }
    file_.labels.push_back(label);
    return {};
  }

  CsvReader csv_;
  const Job& job_;
  DataFile file_;
  std::vector<std::string> header_;
  std::vector<std::size_t> features_;
  std::optional<std::size_t> label_;
  std::map<std::string, std::uint32_t> classes_;
};

}  // namespace

Result<DataFile> read_table(const std::string& path, const Job& job) {
  BP_ASSIGN(const std::string text, read_small_file(path, kMaxBytes));
  return TableReader(text, path, job).read();
}

}  // namespace beaverpond
