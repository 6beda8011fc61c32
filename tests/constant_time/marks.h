// Secrets as valgrind's memcheck sees them: memory that counts as undefined. What is computed from
// it counts as undefined too, and memcheck reports each branch and each address that depends on it
// (Langley, ctgrind, 2010). What a protocol opens is declassified where it is sent.
#pragma once

#include <gtest/gtest.h>
#include <valgrind/memcheck.h>

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "beaverpond/seed.h"

namespace beaverpond::testing {

using WordVector = std::vector<std::uint64_t>;

template <class T>
void mark_secret(std::span<T> data) {
  (void)VALGRIND_MAKE_MEM_UNDEFINED(data.data(), data.size_bytes());
}
/// From now on public, and all that is computed from it.
template <class T>
void declassify(std::span<T> data) {
  (void)VALGRIND_MAKE_MEM_DEFINED(data.data(), data.size_bytes());
}

/// Bytes of which at least one bit depends on a secret.
template <class T>
std::size_t secret_bytes(std::span<T> data) {
  std::vector<std::uint8_t> undefined(data.size_bytes());
  (void)VALGRIND_GET_VBITS(data.data(), undefined.data(), undefined.size());
  std::size_t count = 0;
  for (const std::uint8_t bits : undefined) count += bits != 0;
  return count;
}

/// Branches and addresses so far that depended on a secret.
inline unsigned leaks() {
  return VALGRIND_COUNT_ERRORS;
}

/// Runs an operation, in which no branch and no address may depend on a secret. `result` is what it
/// writes: if no secret had reached it, nothing was looked at.
template <class F, class T>
void expect_constant_time(const std::string& what, std::span<T> result, F&& operation) {
  const unsigned before = leaks();
  operation();
  EXPECT_EQ(leaks() - before, 0u) << what << ": memcheck's report says where";
  EXPECT_GT(secret_bytes(result), 0u) << what << ": the marks did not reach its result";
}

/// Of leaks(), those that plants.cpp made on purpose.
inline unsigned planted_leaks = 0;

inline WordVector random_words(std::size_t count, std::mt19937_64& random) {
  WordVector words(count);
  for (std::uint64_t& word : words) word = random();
  return words;
}
inline WordVector secret_words(std::size_t count, std::mt19937_64& random) {
  WordVector words = random_words(count, random);
  mark_secret(std::span(words));
  return words;
}
inline Seed secret_seed(std::mt19937_64& random) {
  Seed seed;
  for (std::uint8_t& byte : seed.mutable_bytes()) byte = static_cast<std::uint8_t>(random());
  mark_secret(std::span<std::uint8_t>(seed.mutable_bytes()));
  return seed;
}
inline std::vector<Seed> secret_seeds(std::size_t count, std::mt19937_64& random) {
  std::vector<Seed> seeds;
  for (std::size_t i = 0; i < count; ++i) seeds.push_back(secret_seed(random));
  return seeds;
}

}  // namespace beaverpond::testing
