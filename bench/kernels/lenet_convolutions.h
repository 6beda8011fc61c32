// The convolutions of LeNet at batch 128, forward and both gradients.
#pragma once

#include <array>

#include "beaverpond/shape.h"
#include "kernels/backend.h"

namespace beaverpond {

struct NamedConvolution {
  const char* name;
  Conv2dShape shape;
  ConvKind kind;
};

inline constexpr Conv2dShape kLenet1{128, 28, 28, 1, 20, 5, 1, 0, 0};
inline constexpr Conv2dShape kLenet2{128, 12, 12, 20, 50, 5, 1, 0, 0};
inline constexpr std::array<NamedConvolution, 6> kLenetConvolutions = {{
    {"conv/lenet1-b128", kLenet1, ConvKind::kForward},
    {"conv/lenet1-b128/grad-weight", kLenet1, ConvKind::kGradWeight},
    {"conv/lenet1-b128/grad-input", kLenet1, ConvKind::kGradInput},
    {"conv/lenet2-b128", kLenet2, ConvKind::kForward},
    {"conv/lenet2-b128/grad-weight", kLenet2, ConvKind::kGradWeight},
    {"conv/lenet2-b128/grad-input", kLenet2, ConvKind::kGradInput},
}};

}  // namespace beaverpond
