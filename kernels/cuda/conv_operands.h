// The operands of a convolution and its gradients, from its shape.
#pragma once

#include "beaverpond/shape.h"
#include "kernels/cuda/operand.cuh"

namespace beaverpond::cuda {

inline Patches patches_of(const Conv2dShape& s, const std::uint64_t* images) {
  Patches p;
  p.images = images;
  p.height = static_cast<std::int32_t>(s.height);
  p.width = static_cast<std::int32_t>(s.width);
  p.channels = s.in_channels;
  p.stride = static_cast<std::int32_t>(s.stride);
  p.pad = static_cast<std::int32_t>(s.pad_before);
  p.out_width = FastDivide(s.out_width());
  p.out_height = FastDivide(s.out_height());
  p.by_channels = FastDivide(s.in_channels);
  p.by_kernel = FastDivide(s.kernel);
  return p;
}

inline GradientOperand gradient_of(const Conv2dShape& s, const std::uint64_t* gradient) {
  GradientOperand g;
  g.gradient = gradient;
  g.out_height = static_cast<std::int32_t>(s.out_height());
  g.out_width = static_cast<std::int32_t>(s.out_width());
  g.out_channels = s.out_channels;
  g.pad = static_cast<std::int32_t>(s.pad_before);
  g.width = FastDivide(s.width);
  g.height = FastDivide(s.height);
  g.by_channels = FastDivide(s.out_channels);
  g.by_kernel = FastDivide(s.kernel);
  g.by_stride = FastDivide(s.stride);
  return g;
}

}  // namespace beaverpond::cuda
