// Two threads against one.
#pragma once

#include "bench/kernels/kernel_case.h"

namespace beaverpond {

/// Squares and LeNet's convolutions on two threads; the reference is one. Values are products a
/// second of both together.
std::vector<KernelCase> thread_cases();

}  // namespace beaverpond
