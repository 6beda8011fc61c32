// What the factory deals for SecureNN's signs, on the CPU: as SecurennBackend's operations of these
// names.
#pragma once

#include "kernels/securenn_backend.h"

namespace beaverpond::securenn {

void deal_sign(const SignDeal& deal);
ConstBytes read_sign(SignKind kind, const Material& material, const SignShares& out);

}  // namespace beaverpond::securenn
