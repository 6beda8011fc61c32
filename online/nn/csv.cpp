#include "online/nn/csv.h"

namespace beaverpond {
namespace {

std::string trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t") - first + 1));
}

}  // namespace

CsvReader::CsvReader(std::string_view text, std::string file)
    : text_(text), file_(std::move(file)) {
  if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
}

Error CsvReader::error(std::uint64_t line, const std::string& what) const {
  return make_error(ErrorCode::kConfig, file_ + ":" + std::to_string(line) + ": " + what);
}

Result<bool> CsvReader::next(std::vector<std::string>& fields) {
  fields.clear();
  if (text_.find_first_not_of(" \t\r\n", at_) == std::string_view::npos) return false;
  row_line_ = line_;
  for (;;) {
    BP_ASSIGN(std::string one, field());
    fields.push_back(std::move(one));
    if (at_ == text_.size()) return true;
    const char end = text_[at_++];
    if (end == ',') continue;
    if (end == '\r' && at_ < text_.size() && text_[at_] == '\n') ++at_;
    ++line_;
    return true;
  }
}

// Stops at the comma, the line end or the end of the text.
Result<std::string> CsvReader::field() {
  if (at_ == text_.size() || text_[at_] != '"') {
    std::size_t end = text_.find_first_of(",\r\n\"", at_);
    if (end == std::string_view::npos) end = text_.size();
    if (end < text_.size() && text_[end] == '"') {
      return error(line_, "a quote inside a field that is not quoted; quote the whole field");
    }
    std::string value = trimmed(text_.substr(at_, end - at_));
    at_ = end;
    return value;
  }
  const std::uint64_t start = line_;
  std::string value;
  for (++at_;; ++at_) {
    if (at_ == text_.size()) return error(start, "a quoted field does not end");
    const char c = text_[at_];
    if (c == '\n') ++line_;
    if (c == '"') {
      if (at_ + 1 == text_.size() || text_[at_ + 1] != '"') break;
      ++at_;
    }
    value += c;
  }
  ++at_;
  if (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n' && text_[at_] != '\r') {
    return error(line_, "text after a quoted field; put a comma or a line end there");
  }
  return value;
}

}  // namespace beaverpond
