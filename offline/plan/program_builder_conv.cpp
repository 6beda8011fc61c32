// The part of ProgramBuilder that convolves.
#include <utility>

#include "beaverpond/program_builder.h"
#include "offline/plan/builder_checks.h"

namespace beaverpond {
namespace {

// Empty when the convolution can be computed, else what is wrong with it.
std::string conv_problem(const Conv2dShape& c) {
  if (c.kernel == 0 || c.stride == 0) return "kernel and stride must be at least 1";
  if (checked_count(c.image_shape()) == 0) {
    return "image shape " + c.image_shape().str() + " is empty or too large";
  }
  if (checked_count(c.weight_shape()) == 0) {
    return "weight shape " + c.weight_shape().str() + " is empty or too large";
  }
  // Padding of a whole kernel would make windows that see no pixel.
  if (c.pad_before >= c.kernel || c.pad_after >= c.kernel) {
    return "padding must be smaller than the kernel";
  }
  const std::uint64_t pad = std::uint64_t{c.pad_before} + c.pad_after;
  if (c.height + pad < c.kernel || c.width + pad < c.kernel) {
    return "kernel " + std::to_string(c.kernel) + " does not fit into the padded image " +
           c.image_shape().str();
  }
  return "";
}

}  // namespace

// The three convolutions differ only in which shapes go in and come out.
ValueId ProgramBuilder::conv(OpCode code, ValueId x, ValueId y, const Conv2dShape& shape) {
  const std::string name = to_string(code);
  if (!usable(x, ValueKind::kWord, name.c_str())) return kNoValue;
  if (!usable(y, ValueKind::kWord, name.c_str())) return kNoValue;
  if (const std::string problem = conv_problem(shape); !problem.empty()) {
    return fail(name + ": " + problem);
  }
  Shape want_x = shape.image_shape();
  Shape want_y = shape.weight_shape();
  Shape want_out = shape.result_shape();
  if (code == OpCode::kConv2dGradWeight) std::swap(want_y, want_out);
  if (code == OpCode::kConv2dGradInput) std::swap(want_x, want_out);
  const Value& a = program_.values[x];
  const Value& b = program_.values[y];
  if (a.shape != want_x || b.shape != want_y) {
    return fail(name + ": got shapes " + a.shape.str() + " and " + b.shape.str() +
                ", the convolution needs " + want_x.str() + " and " + want_y.str());
  }
  const ValueId out = unary(code, x, want_out, a.scale_bits + b.scale_bits);
  if (failed()) return kNoValue;
  program_.ops.back().inputs.push_back(y);
  program_.ops.back().conv = shape;
  return out;
}

ValueId ProgramBuilder::conv2d(ValueId images, ValueId weights, const Conv2dShape& shape) {
  return conv(OpCode::kConv2d, images, weights, shape);
}

ValueId ProgramBuilder::conv2d_grad_weight(ValueId images, ValueId gradient,
                                           const Conv2dShape& shape) {
  return conv(OpCode::kConv2dGradWeight, images, gradient, shape);
}

ValueId ProgramBuilder::conv2d_grad_input(ValueId gradient, ValueId weights,
                                          const Conv2dShape& shape) {
  return conv(OpCode::kConv2dGradInput, gradient, weights, shape);
}

}  // namespace beaverpond
