// Runs under valgrind alone, with BEAVERPOND_TEST_ISA=portable or avx2.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "kernels/backend.h"
#include "tests/constant_time/marks.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (RUNNING_ON_VALGRIND == 0) {
    std::fputs("constant_time: memcheck is what looks; run it by ctest, or by valgrind\n", stderr);
    return 2;
  }
  const char* const isa = std::getenv("BEAVERPOND_TEST_ISA");
  const std::string name = beaverpond::make_cpu_backend()->name();
  std::printf("%s\n", name.c_str());
  if (isa == nullptr || name != std::string("cpu (gemm ") + isa + ", bits " + isa + ")") {
    std::fprintf(stderr,
                 "constant_time: BEAVERPOND_TEST_ISA asks for another path, or for one "
                 "that this machine lacks\n");
    return 2;
  }
  const int failed = RUN_ALL_TESTS();
  const unsigned elsewhere = beaverpond::testing::leaks() - beaverpond::testing::planted_leaks;
  if (failed == 0 && elsewhere != 0) {
    std::fprintf(stderr, "constant_time: %u reports of memcheck that no test expects\n", elsewhere);
    return 1;
  }
  return failed;
}
