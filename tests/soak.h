// How much a campaign does: little in every test run, much under `make soak`.
#pragma once

#include <cstdlib>

namespace beaverpond::testing {

/// `soak` when the tests run as a long campaign, else `usual`.
inline int campaign_size(int usual, int soak) {
  return std::getenv("BEAVERPOND_SOAK") != nullptr ? soak : usual;
}

}  // namespace beaverpond::testing
