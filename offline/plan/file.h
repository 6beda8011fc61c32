// Whole small files, read and replaced at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "beaverpond/result.h"

namespace beaverpond {

/// A descriptor to read a file from, which the caller closes. Returns at once also for a pipe, and
/// refuses it as everything else that is no regular file. Errors: kIo, naming file and reason.
Result<int> open_regular_file(const std::string& path);

/// Errors: kIo, naming the file and the reason, also for what is no regular file; kConfig for more
/// than `limit_bytes`.
Result<std::string> read_small_file(const std::string& path, std::size_t limit_bytes = 16 << 20);

/// Writes beside `path`, syncs, renames over it and syncs the folder: after a crash the file is the
/// old one or the new one. `mode` as for chmod; the file never exists with a wider one.
/// Errors: kNoSpace, kIo, naming the file and the reason.
Result<void> replace_file(const std::string& path, std::string_view content, unsigned mode);

/// What every output path of a command gets before work begins: its folder exists and can be
/// written, and it is no folder itself. An empty path passes. Errors: kIo, naming the path.
Result<void> check_output_path(const std::string& path);

/// Before hours of work: room for `bytes` at `path`. Nothing is reserved. An empty path passes.
/// Errors: kNoSpace, naming the path, what is needed and what is free.
Result<void> check_room(const std::string& path, std::uint64_t bytes);

/// What a program does before it ends well: results that nobody received are a failure, although
/// the work itself is done. Errors: kIo.
Result<void> flush_output();

/// Opens /dev/null in place of those of descriptors 0..2 that the caller of a program has closed:
/// otherwise the next file would get the number, and everything that is printed.
void occupy_standard_descriptors();

/// For programs that hold seeds, shares or keys: a crash leaves no core file, and other processes
/// of the same user cannot look into this one.
void forbid_core_files();

}  // namespace beaverpond
