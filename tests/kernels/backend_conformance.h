// What every device's backend must do: the same words as the CPU's, bit for bit. A program links
// backend_conformance.cpp and says which backend it tests.
#pragma once

#include <memory>

#include "kernels/backend.h"

namespace beaverpond {

struct TestedBackend {
  /// Null where this machine has none; then every test is skipped, and says `why`.
  std::unique_ptr<Backend> backend;
  std::string why;
  /// How large the larger tensors are: 1 on a device, less where one is emulated.
  double scale = 1;
};

/// Defined by the program.
TestedBackend make_tested_backend();

}  // namespace beaverpond
