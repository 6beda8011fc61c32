// Planted errors: what memcheck must report, or the other tests would say nothing.
#include "kernels/backend.h"
#include "kernels/cpu/prg.h"
#include "tests/constant_time/marks.h"

namespace beaverpond {
namespace {

using testing::leaks;
using testing::random_words;
using testing::secret_seed;
using testing::secret_words;
using testing::WordVector;

// Not inlined, and with memory that the compiler must look at: it could do without the branch.
[[gnu::noinline]] std::uint64_t count_odd(std::span<const std::uint64_t> words) {
  static volatile std::uint64_t odd = 0;
  odd = 0;
  for (const std::uint64_t word : words) {
    if ((word & 1) != 0) odd = odd + 1;
  }
  return odd;
}
[[gnu::noinline]] std::uint64_t look_up(std::span<const std::uint64_t> table, std::uint64_t index) {
  return table[index & (table.size() - 1)];
}

/// Leaks of a planted error, after it was announced.
template <class F>
unsigned leaks_of(const char* what, F&& f) {
  VALGRIND_PRINTF("planted on purpose: %s\n", what);
  const unsigned before = leaks();
  f();
  VALGRIND_PRINTF("the plant ends here\n");
  const unsigned found = leaks() - before;
  testing::planted_leaks += found;
  return found;
}

TEST(ConstantTimePlants, ABranchOnAShareIsCaught) {
  std::mt19937_64 random(1);
  const WordVector share = secret_words(64, random);
  EXPECT_GT(leaks_of("a branch on a share", [&] { count_odd(share); }), 0u);
}

TEST(ConstantTimePlants, ATableIndexedByAMaskIsCaught) {
  std::mt19937_64 random(2);
  const WordVector table = random_words(256, random);
  const Seed seed = secret_seed(random);
  WordVector mask(8);
  Prg(seed, PrgKind::kAes128Ctr).fill(1, 0, bytes_of(Words(mask)));
  volatile std::uint64_t read = 0;
  EXPECT_GT(leaks_of("a table read at a mask", [&] { read = look_up(table, mask[3]); }), 0u);
}

TEST(ConstantTimePlants, ALookupBeforeItsIndexIsOpenedIsCaught) {
  std::mt19937_64 random(3);
  const std::unique_ptr<Backend> backend = make_cpu_backend();
  const Seed seed = secret_seed(random);
  const WordVector own_part = secret_words(40, random);
  WordVector out(own_part.size());
  Material material;
  material.seed = &seed;
  EXPECT_GT(leaks_of("a lookup at an index that was not opened",
                     [&] { backend->lookup_finish(material, 6, own_part, out, kHostStream); }),
            0u);
}

TEST(ConstantTimePlants, WhatIsDeclassifiedIsNot) {
  std::mt19937_64 random(4);
  WordVector opened = secret_words(64, random);
  testing::declassify(std::span(opened));
  const unsigned before = leaks();
  count_odd(opened);
  EXPECT_EQ(leaks(), before);
}

}  // namespace
}  // namespace beaverpond
