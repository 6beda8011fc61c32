// Random bytes of the operating system, behind a seam: clock and randomness are arguments.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "beaverpond/result.h"

namespace beaverpond {

using EntropySource = std::function<Result<void>(std::span<std::uint8_t>)>;

/// Fills `bytes` from getrandom(2), which waits until the generator is seeded. Errors: kIo.
Result<void> fill_random_blocking(std::span<std::uint8_t> bytes);

}  // namespace beaverpond
