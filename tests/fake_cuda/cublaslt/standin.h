// The stand-in of cuBLASLt: products of bytes by plain loops, in the order of streams. It takes
// what the library's manual says that it takes, and ends the test at anything else.
#pragma once

#include "kernels/cuda/cublaslt_api.h"

namespace fake_cublaslt {

/// As after the start: installed, and nothing fails.
void reset();
/// Whether load() finds it.
void install(bool installed);
/// The `nth` product from now on fails.
void fail_product(int nth);
/// Products since reset().
int products();

}  // namespace fake_cublaslt
