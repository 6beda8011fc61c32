// Numbers to words and back, for the inputs and reveals of a recorded program.
#pragma once

#include <cstdint>
#include <vector>

#include "beaverpond/run.h"

namespace beaverpond {

/// Words by input slot, of the inputs that player `rank` owns, or of all where rank is -1; the rest
/// is empty. Errors: kConfig (missing, unknown, another player's, another count, no number),
/// kDomain (too large); the message names the input and the element.
Result<std::vector<std::vector<std::uint64_t>>> input_words(const RecordedProgram& program,
                                                            const NamedValues& inputs, int rank);

std::vector<double> numbers(const std::vector<std::uint64_t>& words, int fraction_bits);

}  // namespace beaverpond
