// Whether a device runs what this module was built for.
#pragma once

#include "beaverpond/result.h"
#include "kernels/cuda/memory_pool.h"

namespace beaverpond::cuda {

/// Runs a kernel on the pool's device and looks at what it wrote, so that a module built for other
/// devices, or a device in a bad state, shows at the start and not amid a job. Waits. Errors:
/// kDeviceFailed, kOutOfMemory.
Result<void> probe_blocking(MemoryPool& pool);

}  // namespace beaverpond::cuda
