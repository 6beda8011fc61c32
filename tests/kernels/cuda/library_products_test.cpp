// Products by cuBLASLt, on its stand-in: exact at the limits of a residue product, chosen only
// where the rates say so, and what becomes of failures. Whole operations:
// cuda_backend_library_test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "fake_cuda/control.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/products.h"
#include "tests/fake_cuda/cublaslt/standin.h"

namespace beaverpond::cuda {
namespace {

using ::testing::HasSubstr;

class LibraryProductsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fake_cuda::reset({});
    fake_cublaslt::reset();
  }
  void TearDown() override { fake_cublaslt::reset(); }

  static std::unique_ptr<Backend> backend(const ProductTuning& tuning) {
    Result<std::unique_ptr<Backend>> made = make_cuda_backend(0, tuning);
    EXPECT_TRUE(made.ok()) << made.error().message;
    return std::move(made).value();
  }
  static Buffer filled(Backend& backend, std::uint64_t count, std::uint64_t word) {
    const std::vector<std::uint64_t> words(count, word);
    Buffer buffer = std::move(backend.allocate(ByteCount{count * 8})).value();
    backend.upload(bytes_of(ConstWords(words)), buffer.bytes(), kHostStream);
    return buffer;
  }
  /// What a product of words that are all x and all y gives.
  static Result<void> multiply(Backend& backend, const MatMulShape& s, std::uint64_t x,
                               std::uint64_t y, std::vector<std::uint64_t>& out) {
    const Buffer left = filled(backend, s.m * s.k, x);
    const Buffer right = filled(backend, s.k * s.n, y);
    const Buffer product = filled(backend, s.m * s.n, 7);
    out.resize(s.m * s.n);
    backend.matmul(s, left.words(), right.words(), product.words(), false, kHostStream);
    backend.download(product.bytes(), bytes_of(Words(out)), kHostStream);
    return backend.synchronize(kHostStream);
  }
  static ProductTuning rates(double library_macs) {
    ProductTuning tuning;
    tuning.measured = {{"stand-in on host memory", {1, 100000, 50, 1, library_macs, 50, 0}}};
    tuning.origin = "a test";
    return tuning;
  }
};

/// The longest product of one cut, of words whose residues are largest, and one that is cut.
TEST_F(LibraryProductsTest, ExactAtTheLimits) {
  const std::unique_ptr<Backend> b = backend({.method = ProductMethod::kLibrary});
  constexpr std::uint64_t kMost = kMaxResidueDepth;
  constexpr std::uint64_t kLeast = std::uint64_t{1} << 63;  // as a signed word
  for (const std::uint64_t k : {std::uint64_t{1}, kMost, kMost + 1}) {
    for (const std::uint64_t x : {kLeast, kLeast - 1, ~std::uint64_t{0}}) {
      for (const std::uint64_t y : {kLeast, kLeast - 1}) {
        std::vector<std::uint64_t> out;
        ASSERT_TRUE(multiply(*b, {3, 5, k, false, false}, x, y, out).ok());
        EXPECT_THAT(out, ::testing::Each(k * x * y)) << k << " " << x << " " << y;
      }
    }
  }
  EXPECT_EQ(fake_cublaslt::products(), 6 + 6 + 12);
}

TEST_F(LibraryProductsTest, GetsAProductOnlyWhereRatesSaySo) {
  for (const double macs : {0.0, 10000.0, 1000000.0}) {
    SCOPED_TRACE(macs);
    fake_cublaslt::reset();
    const std::unique_ptr<Backend> b = backend(rates(macs));
    EXPECT_THAT(b->name(), HasSubstr("with rates of a test"));
    std::vector<std::uint64_t> out;
    ASSERT_TRUE(multiply(*b, {40, 30, 70, false, false}, 3, 5, out).ok());
    EXPECT_THAT(out, ::testing::Each(70u * 15));
    EXPECT_EQ(fake_cublaslt::products(), macs > 100000 ? 1 : 0);
  }
}

TEST_F(LibraryProductsTest, RatesThatUseItDoWithoutIt) {
  fake_cublaslt::install(false);
  const std::unique_ptr<Backend> b = backend(rates(1000000));
  EXPECT_THAT(b->name(), HasSubstr("without cuBLASLt"));
  std::vector<std::uint64_t> out;
  ASSERT_TRUE(multiply(*b, {40, 30, 70, false, false}, 3, 5, out).ok());
  EXPECT_THAT(out, ::testing::Each(70u * 15));
  const auto asked = make_cuda_backend(0, {.method = ProductMethod::kLibrary});
  ASSERT_FALSE(asked.ok());
  EXPECT_EQ(asked.error().code, ErrorCode::kDeviceFailed);
}

TEST_F(LibraryProductsTest, AProductThatFailsIsFoundAtTheSynchronize) {
  const std::unique_ptr<Backend> b = backend({.method = ProductMethod::kLibrary});
  fake_cublaslt::fail_product(1);
  std::vector<std::uint64_t> out;
  const Result<void> done = multiply(*b, {4, 4, 4, false, false}, 3, 5, out);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code, ErrorCode::kDeviceFailed);
  EXPECT_THAT(done.error().message, HasSubstr("CUBLAS_STATUS_EXECUTION_FAILED"));
  EXPECT_TRUE(multiply(*b, {4, 4, 4, false, false}, 3, 5, out).ok());
}

TEST(ProductRatesOfDevices, MeasuredBeforeBuiltInBeforeGuessed) {
  DeviceProperties h100;
  h100.name = "NVIDIA H100 80GB HBM3";
  h100.multiprocessors = 132;
  ProductTuning tuning;
  EXPECT_EQ(rates_of(h100, tuning).origin, "built-in rates of NVIDIA H100");
  tuning.measured = {{"NVIDIA H100 PCIe", {1, 2, 3, 4}}};
  tuning.origin = "F";
  EXPECT_EQ(rates_of(h100, tuning).origin, "built-in rates of NVIDIA H100");
  tuning.measured.push_back({h100.name, {5, 6, 7, 8}});
  EXPECT_EQ(rates_of(h100, tuning).origin, "rates of F");
  EXPECT_EQ(rates_of(h100, tuning).rates.words_macs, 5);
  DeviceProperties other;
  other.name = "another";
  other.multiprocessors = 66;
  EXPECT_EQ(rates_of(other, tuning).origin, "rates guessed from those of NVIDIA H100");
  EXPECT_EQ(rates_of(other, tuning).rates.words_macs * 2, rates_of(h100, {}).rates.words_macs);
}

/// By digits only where somebody measured them, and only where they take the least time.
TEST(ProductRatesOfDevices, DigitsWhereTheyWin) {
  ProductRates rates{2600, 440000, 50, 8600};
  EXPECT_EQ(fastest_method(rates, 128, 128, 128), ProductMethod::kWords);
  EXPECT_EQ(fastest_method(rates, 512, 512, 512), ProductMethod::kResidues);
  rates.digit_macs = 7900;
  EXPECT_EQ(fastest_method(rates, 128, 128, 128), ProductMethod::kDigits);
  EXPECT_EQ(fastest_method(rates, 512, 512, 512), ProductMethod::kDigits);
  EXPECT_EQ(fastest_method(rates, 73728, 20, 25), ProductMethod::kDigits);
  EXPECT_EQ(fastest_method(rates, 4096, 4096, 4096), ProductMethod::kResidues);
  rates.digit_macs = 100;
  EXPECT_EQ(fastest_method(rates, 512, 512, 512), ProductMethod::kResidues);
}

}  // namespace
}  // namespace beaverpond::cuda
