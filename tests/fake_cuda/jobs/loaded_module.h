// The module against the stand-ins, in the place of the one that programs look for and load.
#pragma once

#include <functional>
#include <memory>

#include "online/transport/transport.h"

namespace beaverpond::testing {

/// Wraps the transport among GPUs of one player.
using DecorateGpus = std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport>)>;

/// What the module's transports get around them from now on; empty: nothing. Not while any is made.
void decorate_gpu_transports(DecorateGpus decorate);

}  // namespace beaverpond::testing
