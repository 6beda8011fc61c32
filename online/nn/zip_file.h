// Zip archives in memory, which NumPy's .npz files are.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

struct ZipMember {
  std::string name;
  std::string bytes;
};

/// Names of the members, in the archive's order; `file` is for messages. Errors: kConfig.
Result<std::vector<std::string>> zip_names(std::string_view archive, const std::string& file);

/// One member, unpacked and checked. Errors: kConfig.
Result<std::string> read_zip_member(std::string_view archive, const std::string& name,
                                    const std::string& file);

/// An archive of uncompressed members; equal members give equal bytes. Errors: kOutOfMemory, kIo.
Result<std::string> encode_zip(const std::vector<ZipMember>& members);

}  // namespace beaverpond
