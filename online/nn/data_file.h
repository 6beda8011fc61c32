// Files of samples and labels in every format that jobs may name: IDX (plain or gzip), .npy, .npz
// and .csv, told apart by the end of the name. "file.npz:member" names one of several arrays.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "online/nn/job.h"
#include "online/nn/samples.h"

namespace beaverpond {

/// What a file holds, not yet scaled nor checked against the model. Rows of an array [rows, n] and
/// of a table are images of one pixel and n channels.
struct DataFile {
  std::string path;
  Samples samples;
  std::vector<std::uint32_t> labels;  ///< of a table that has the column data.label, else empty
  std::string no_label;               ///< of a table without that column: what to tell the user
  std::vector<std::uint64_t> lines;   ///< of a table: where each row begins
  std::vector<std::string> columns;   ///< of a table: the features

  /// Where a value stands: "rows.csv:17: column 'width'".
  std::string where(std::uint32_t row, std::uint64_t value) const;
};

/// Errors: kIo, kConfig, naming file and place.
Result<DataFile> read_data_file(const std::string& path, const Job& job);

/// Labels below the model's classes, one per row. Errors: kIo, kConfig.
Result<std::vector<std::uint32_t>> read_label_file(const std::string& path, const Job& job);

/// A .csv file: a line of column names, then one row per sample. Errors: kConfig.
Result<DataFile> read_table(const std::string& path, const Job& job);

}  // namespace beaverpond
