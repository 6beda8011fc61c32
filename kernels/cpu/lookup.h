// Lookups in a dealt, rotated table at a shared index (kernels/README.md).
#pragma once

#include "kernels/backend.h"

namespace beaverpond::cpu {

void lookup_open(const Material& material, int bits, ConstWords x, Words out);
void lookup_finish(const Material& material, int bits, ConstWords opened, Words out);
void deal_lookup(const Backend::DealLookup& deal);

}  // namespace beaverpond::cpu
