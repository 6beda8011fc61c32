#include "kernels/product_rates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "kernels/make_backend.h"

namespace beaverpond {
namespace {

using ::testing::HasSubstr;

const DeviceRates kRow{"NVIDIA H100 80GB HBM3", {2593, 438956, 53.5, 8604}};

class ProductRatesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / "beaverpond-product-rates";
    std::filesystem::remove_all(folder_);
    unsetenv("BEAVERPOND_GPU_RATES");
    setenv("XDG_CONFIG_HOME", folder_.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("BEAVERPOND_GPU_RATES");
    unsetenv("XDG_CONFIG_HOME");
    std::filesystem::remove_all(folder_);
  }
  std::filesystem::path folder_;
};

void expect_same(const DeviceRates& a, const DeviceRates& b) {
  EXPECT_EQ(a.device, b.device);
  EXPECT_EQ(a.rates.words_macs, b.rates.words_macs);
  EXPECT_EQ(a.rates.residue_macs, b.rates.residue_macs);
  EXPECT_EQ(a.rates.converted_words, b.rates.converted_words);
  EXPECT_EQ(a.rates.launch_ns, b.rates.launch_ns);
  EXPECT_EQ(a.rates.library_macs, b.rates.library_macs);
  EXPECT_EQ(a.rates.library_words, b.rates.library_words);
  EXPECT_EQ(a.rates.digit_macs, b.rates.digit_macs);
}

TEST_F(ProductRatesTest, WhatIsSavedIsLoaded) {
  EXPECT_TRUE(load_product_tuning()->measured.empty());
  const std::string path = product_rates_path();
  EXPECT_EQ(path, folder_.string() + "/beaverpond/gpu-rates.toml");
  ASSERT_TRUE(save_product_rates(kRow, path).ok());
  DeviceRates other{"another", {1, 2, 3, 4, 5, 6, 7}};
  ASSERT_TRUE(save_product_rates(other, path).ok());
  other.rates.words_macs = 1.5;
  ASSERT_TRUE(save_product_rates(other, path).ok());
  const Result<ProductTuning> loaded = load_product_tuning();
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_EQ(loaded->origin, path);
  ASSERT_EQ(loaded->measured.size(), 2u);
  expect_same(loaded->measured[0], kRow);
  expect_same(loaded->measured[1], other);
}

TEST_F(ProductRatesTest, WhatIsNoFileOfRatesIsSaidByItsLine) {
  const std::string good = format_product_rates({kRow});
  ASSERT_TRUE(parse_product_rates(good, "F").ok());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  const std::pair<std::string, const char*> cases[] = {
      {"rubbish\n", "line 1: 'rubbish' is neither"},
      {"words_macs = 1\n", "before the first [[device]]"},
      {with("words_macs = 2593", "words_macs = 0"), "line 5: words_macs = 0 is no rate"},
      {with("words_macs = 2593", "words_macs = -3"), "is no rate"},
      {with("words_macs = 2593", "words_macs = nan"), "is no rate"},
      {with("words_macs = 2593", "words_macs = 1e999"), "is no rate"},
      {with("words_macs = 2593", "words_macs = 12x"), "is no rate"},
      {with("words_macs = 2593", "word_macs = 2593"), "there is no key 'word_macs'"},
      {with("words_macs = 2593", ""), "lacks words_macs"},
      {with("library_macs = 0", "library_macs = 4"), "without the other"},
      {with("library_macs = 0", "words_macs = 4"), "a second words_macs"},
      {with("\"NVIDIA H100 80GB HBM3\"", "NVIDIA"), "in quotes"},
      {with("name = \"NVIDIA H100 80GB HBM3\"", ""), "without a name"},
      {good + good, "stands there twice"},
  };
  for (const auto& [text, words] : cases) {
    const auto parsed = parse_product_rates(text, "F");
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::kConfig);
    EXPECT_THAT(parsed.error().message, HasSubstr(words));
    EXPECT_THAT(parsed.error().message, HasSubstr("F, line "));
  }
}

TEST_F(ProductRatesTest, AFileThatIsNamedMustBeThereAndGood) {
  const std::string path = folder_.string() + "/mine.toml";
  setenv("BEAVERPOND_GPU_RATES", path.c_str(), 1);
  EXPECT_EQ(product_rates_path(), path);
  EXPECT_EQ(load_product_tuning().error().code, ErrorCode::kConfig);
  std::filesystem::create_directories(folder_);
  std::ofstream(path) << "rubbish";
  EXPECT_THAT(load_product_tuning().error().message, HasSubstr(path + ", line 1"));
  // What is there is not written over unless it is such a file.
  EXPECT_EQ(save_product_rates(kRow, path).error().code, ErrorCode::kConfig);
  std::filesystem::remove(path);
  EXPECT_TRUE(save_product_rates(kRow, path).ok());
  EXPECT_EQ(load_product_tuning()->measured.size(), 1u);
  EXPECT_EQ(save_product_rates(kRow, "/proc/none/rates.toml").error().code, ErrorCode::kIo);
}

/// Times made of rates give the rates back.
TEST_F(ProductRatesTest, TimesAreExplained) {
  const ProductRates known{2600, 400000, 50, 8000, 450000, 20, 7000};
  const auto time = [](double n, double macs, double squares_ns) {
    return (18 * n * n * n / macs + n * n * squares_ns) * 1e-9;
  };
  ProductTimes times;
  times.words_macs_per_second = known.words_macs * 1e9;
  times.digit_macs_per_second = known.digit_macs * 1e9;
  times.tiny_residues = 4 * known.launch_ns * 1e-9;
  const double own = 3 / known.converted_words;
  const double library = 2 / known.converted_words + 1 / known.library_words;
  times.residues = {2048, time(2048, known.residue_macs, own), time(4096, known.residue_macs, own)};
  times.library = {2048, time(2048, known.library_macs, library),
                   time(4096, known.library_macs, library)};
  const Result<ProductRates> fitted = fit_product_rates(times);
  ASSERT_TRUE(fitted.ok()) << fitted.error().message;
  const double ratio[] = {fitted->words_macs / known.words_macs,
                          fitted->residue_macs / known.residue_macs,
                          fitted->converted_words / known.converted_words,
                          fitted->launch_ns / known.launch_ns,
                          fitted->library_macs / known.library_macs,
                          fitted->library_words / known.library_words,
                          fitted->digit_macs / known.digit_macs};
  for (const double each : ratio) EXPECT_NEAR(each, 1.0, 1e-6);
  times.library.reset();
  EXPECT_EQ(fit_product_rates(times)->library_macs, 0);
  times.residues.large = times.residues.small;
  EXPECT_EQ(fit_product_rates(times).error().code, ErrorCode::kConfig);
}

}  // namespace
}  // namespace beaverpond
