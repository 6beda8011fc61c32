// The built module on a real GPU. Skipped where there is none. BEAVERPOND_TEST_PRODUCTS: words,
// residues or digits, for all products.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include "kernels/device_module.h"
#include "tests/kernels/backend_conformance.h"

namespace beaverpond {
namespace {

ProductMethod products_asked_for() {
  const char* const named = std::getenv("BEAVERPOND_TEST_PRODUCTS");
  const std::string_view method = named == nullptr ? "" : named;
  if (method == "words") return ProductMethod::kWords;
  if (method == "residues") return ProductMethod::kResidues;
  if (method == "digits") return ProductMethod::kDigits;
  EXPECT_EQ(method, "") << "no method of products";
  return ProductMethod::kAuto;
}

}  // namespace

TestedBackend make_tested_backend() {
  TestedBackend tested;
  const std::string path = BEAVERPOND_CUDA_MODULE;
  const Result<const DeviceModule*> module = load_cuda_module_from({&path, 1});
  if (!module.ok()) {
    tested.why = module.error().message;
    return tested;
  }
  Result<std::unique_ptr<Backend>> backend =
      module.value()->make_backend(0, {.method = products_asked_for()});
  if (backend.ok()) {
    tested.backend = std::move(backend).value();
  } else {
    tested.why = backend.error().message;
  }
  return tested;
}

}  // namespace beaverpond
