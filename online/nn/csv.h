// Comma-separated values (RFC 4180), row by row.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

/// Quoted fields may hold commas, line ends and doubled quotes. Lines end with LF or CRLF, the last
/// one with or without. Blanks around a field that is not quoted are dropped, and so is a byte
/// order mark. Blank lines at the end are skipped.
class CsvReader {
 public:
  /// `text` must outlive the reader; `file` is for messages.
  CsvReader(std::string_view text, std::string file);

  /// Reads the next row's fields, false at the end. Errors: kConfig, with file and line.
  Result<bool> next(std::vector<std::string>& fields);
  /// Where the row read last begins, from 1.
  std::uint64_t line() const { return row_line_; }

 private:
  Result<std::string> field();
  Error error(std::uint64_t line, const std::string& what) const;

  std::string_view text_;
  std::string file_;
  std::size_t at_ = 0;
  std::uint64_t line_ = 1;
  std::uint64_t row_line_ = 0;
};

}  // namespace beaverpond
