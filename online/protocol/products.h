// Products of shared values, from masks that are open and a dealt product of masks.
#pragma once

#include <cstdint>

#include "beaverpond/bundle.h"
#include "online/protocol/value_store.h"

namespace beaverpond {

/// A player's side of plan entry `entry`, for a member of the series that `bundle` serves. Points
/// into the bundle.
Material entry_material(const Plan& plan, const Bundle& bundle, std::uint32_t entry,
                        std::uint32_t member, bool designated);

/// The share of operation `op`, a product whose factors' masks are open:
/// [XY]_i = E (B_i + d_i F) + A_i F + C_i, with d_i = 1 on the designated player. Stream-ordered.
/// Beaver 1991.
void multiply_open(Backend& backend, const Program& program, const Op& op, const Material& material,
                   ValueStore& values);

}  // namespace beaverpond
