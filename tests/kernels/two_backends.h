// One operation on two backends, and whether the results are the same words.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "tests/kernels/backend_conformance.h"
#include "tests/kernels/gpu_here.h"

namespace beaverpond {

using HostWords = std::vector<std::uint64_t>;

inline HostWords random_words(std::size_t count, std::mt19937_64& random) {
  HostWords words(count);
  for (std::uint64_t& word : words) word = random();
  return words;
}
inline Seed random_seed(std::mt19937_64& random) {
  Seed seed;
  for (std::uint8_t& byte : seed.mutable_bytes()) byte = static_cast<std::uint8_t>(random());
  return seed;
}

/// A tensor on one backend.
class Tensor {
 public:
  Tensor(Backend& backend, const HostWords& words) : backend_(&backend), count_(words.size()) {
    Result<Buffer> made = backend.allocate(ByteCount{words.size() * 8});
    EXPECT_TRUE(made.ok()) << made.error().message;
    buffer_ = std::move(made).value();
    if (count_ == 0) return;
    backend.upload(bytes_of(ConstWords(words)), buffer_.bytes(), kHostStream);
    // `words` may end before the stream gets to it.
    EXPECT_TRUE(backend.synchronize(kHostStream).ok());
  }
  Words words() const { return buffer_.words().first(count_); }
  operator Words() const { return words(); }       // NOLINT: reads as the span it is
  operator ConstWords() const { return words(); }  // NOLINT
  std::span<std::uint8_t> bytes() const { return buffer_.bytes(); }
  HostWords read() const {
    HostWords host(count_);
    if (count_ == 0) return host;
    backend_->download(bytes_of(ConstWords(words())), bytes_of(Words(host)), kHostStream);
    const Result<void> done = backend_->synchronize(kHostStream);
    EXPECT_TRUE(done.ok()) << done.error().message;
    return host;
  }

 private:
  Backend* backend_;
  std::size_t count_;
  Buffer buffer_;
};

/// The tested backend beside the CPU's.
class TwoBackends : public ::testing::Test {
 protected:
  static TestedBackend& tested() {
    static TestedBackend made = make_tested_backend();
    return made;
  }
  void SetUp() override {
    if (tested().backend != nullptr) return;
    if (beaverpond::testing::gpu_here()) FAIL() << tested().why;
    GTEST_SKIP() << "no GPU here: " << tested().why;
  }
  Backend& cpu() { return *cpu_; }
  Backend& device() { return *tested().backend; }
  std::size_t scaled(std::size_t count) const {
    return static_cast<std::size_t>(static_cast<double>(count) * tested().scale) + 1;
  }

  /// f(backend, input tensors, output tensor) on both backends; outputs start with the same random
  /// words, so that what an operation does not write shows too.
  template <class F>
  void same(const std::string& what, const std::vector<HostWords>& inputs, std::size_t out_words,
            F&& f) {
    SCOPED_TRACE(what);
    const HostWords before = random_words(out_words, random_);
    HostWords results[2];
    int which = 0;
    for (Backend* const backend : {&cpu(), &device()}) {
      std::vector<Tensor> tensors;
      for (const HostWords& words : inputs) tensors.emplace_back(*backend, words);
      const Tensor out(*backend, before);
      f(*backend, tensors, out);
      results[which++] = out.read();
    }
    expect_equal(results[0], results[1]);
  }
  static void expect_equal(const HostWords& expected, const HostWords& actual) {
    ASSERT_EQ(expected.size(), actual.size());
    std::size_t wrong = 0;
    std::size_t first = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (expected[i] == actual[i]) continue;
      if (wrong++ == 0) first = i;
    }
    EXPECT_EQ(wrong, 0u) << "of " << expected.size() << ", the first at " << first << ": "
                         << expected[first] << " on the CPU, " << actual[first];
  }

  std::mt19937_64 random_{20261127};

 private:
  std::unique_ptr<Backend> cpu_ = make_cpu_backend();
};

}  // namespace beaverpond
