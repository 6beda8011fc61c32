// Operations on shares that need no message, whatever the protocol.
#pragma once

#include "online/protocol/value_store.h"

namespace beaverpond {

/// Sums, public factors, rows, windows: out's share from the inputs' shares. `designated`: whether
/// this player adds public constants. Other operations are a broken invariant.
void run_local_op(Backend& backend, const Program& program, const Op& op, ValueStore& values,
                  bool designated);

}  // namespace beaverpond
