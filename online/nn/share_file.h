// One player's shares of trained weights, kept for a later session: the format is a table in
// README.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "online/nn/weight_file.h"

namespace beaverpond {

/// Shares of one training; only those of one training, of all its players, make weights.
struct WeightShares {
  std::uint64_t training = 0;  ///< id of the session that trained
  std::uint32_t player = 0;
  std::uint32_t players = 0;
  std::vector<WeightTensor> tensors;  ///< words are shares
};

/// Readable by this user only, replaced durably. Errors: kIo, kNoSpace.
Result<void> write_shares(const WeightShares& shares, const std::string& path);
/// Errors: kIo; kConfig for a file that is damaged or no share file.
Result<WeightShares> read_shares(const std::string& path);

}  // namespace beaverpond
