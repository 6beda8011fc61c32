// The paper's protocols on vectors: ShareConvert, ComputeMSB, DReLU, SelectShare; and the fused
// ReLU. Rounds and bytes: README.md. `shares` of P0 and P1 are additive mod 2^64. The functions of
// P2 mirror those of P0 and P1, message by message.
#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "online/securenn/party.h"

namespace beaverpond::securenn {

/// [product] = [x y], element by element; the triple's masks are its own. 1 round. `product` may
/// be x or y.
Result<void> multiply(Party& party, const Material& triple, ConstWords x, ConstWords y,
                      Words product);

struct SignMaterial {
  Material sign;  ///< a converted sign
  Material xor_triple;
};
/// [bit] = [x >= 0], for -2^62 <= x < 2^62. 8 rounds.
Result<void> derivative_of_relu(Party& party, const SignMaterial& material, ConstWords x,
                                Words bit);
Result<void> assist_derivative_of_relu(Party& party, std::uint64_t count);

/// [bit] = [x >= 0] and [relu] = [x bit], for every signed x. `sign` is an opened sign. 3 rounds.
Result<void> fused_relu(Party& party, const Material& sign, ConstWords x, Words relu, Words bit);
/// `mask`: r of the opened sign.
Result<void> assist_fused_relu(Party& party, ConstWords mask);

}  // namespace beaverpond::securenn
