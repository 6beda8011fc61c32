// Convolutions of ring words and their gradients, against im2col and Eigen's product.
#pragma once

#include "bench/kernels/kernel_case.h"

namespace beaverpond {

/// LeNet's two convolutions at batch 128, forward and both gradients.
std::vector<KernelCase> conv_cases();

}  // namespace beaverpond
