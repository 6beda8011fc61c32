// Included before the sources whose random draws reject bytes.
#pragma once

#include <valgrind/memcheck.h>

/// Rejected bytes are independent of those that are kept, so that how many there were, and where,
/// tells nothing of any number that was drawn.
#define BEAVERPOND_PUBLIC_REJECTION(rejected) \
  ((void)VALGRIND_MAKE_MEM_DEFINED(&(rejected), sizeof(rejected)))
