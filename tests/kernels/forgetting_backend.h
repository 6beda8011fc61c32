// A backend that counts how often it was told to forget keys.
#pragma once

#include "tests/kernels/forwarding_backend.h"

namespace beaverpond::testing {

class ForgettingBackend final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;

  int times() const { return times_; }
  void forget_keys(StreamRef stream) override {
    ++times_;
    ForwardingBackend::forget_keys(stream);
  }

 private:
  int times_ = 0;
};

}  // namespace beaverpond::testing
