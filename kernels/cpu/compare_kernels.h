// The comparison rounds over whole tensors on the CPU, one table of functions per instruction set.
#pragma once

#include "kernels/backend.h"
#include "kernels/cpu/prg.h"

namespace beaverpond::cpu {

struct CompareKernels {
  const char* name;
  void (*leaves)(const CompareState&, Words out);
  void (*nodes)(const CompareState&, ConstWords leaf, Words out);
  void (*root)(const CompareState&, ConstWords root, Words out);
  void (*finish)(const CompareState&, ConstWords final, ConstWords x, const BitShare& forward,
                 Words out, Words b);
  /// `prgs`: one per player, in the order of the job's seeds.
  void (*deal)(const Backend::DealCompare&, std::span<const Prg* const> prgs);
};

extern const CompareKernels kCompareAvx512;
extern const CompareKernels kCompareAvx2;
extern const CompareKernels kComparePortable;

/// The best table this machine can run.
const CompareKernels& best_compare_kernels();

}  // namespace beaverpond::cpu
