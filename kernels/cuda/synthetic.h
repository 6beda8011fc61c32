// cuRAND's words for made-up data sets and inputs of benchmarks. cuRAND is not cryptographic: no
// share, mask, seed or initial weight comes from here, which tests hold to (README.md).
#pragma once

#include "beaverpond/result.h"
#include "kernels/synthetic/request.h"

namespace beaverpond::cuda {

/// Fills request.out; a GPU and the host give the same words (Philox4x32-10, legacy order). Returns
/// when they are there. Any thread. Errors: kDeviceFailed (no cuRAND, no driver, or it refused),
/// kConfig (no such GPU), kOutOfMemory.
Result<void> fill_synthetic_blocking(const SyntheticRequest& request);

}  // namespace beaverpond::cuda
