// The part of ProgramBuilder that moves elements and works with public words.
#include "beaverpond/program_builder.h"

namespace beaverpond {
namespace {

constexpr std::size_t kMaxTable = std::size_t{1} << 12;

// Empty when the window slides over the images, else what is wrong with it.
std::string window_problem(const Pool2dShape& p) {
  if (p.window_height == 0 || p.window_width == 0 || p.stride == 0) {
    return "window and stride must be at least 1";
  }
  for (const std::uint32_t pad : {p.pad_before, p.pad_after}) {
    // Else a window could lie outside the image as a whole.
    if (pad >= p.window_height || pad >= p.window_width) {
      return "padding must be smaller than the window";
    }
  }
  const std::uint64_t pad = std::uint64_t{p.pad_before} + p.pad_after;
  if (p.height + pad < p.window_height || p.width + pad < p.window_width) {
    return "window " + std::to_string(p.window_height) + "x" + std::to_string(p.window_width) +
           " does not fit into the padded image " + p.image_shape().str();
  }
  if (p.pixels() > UINT32_MAX) return "its result is too large";
  return "";
}

Shape taps_shape(const Pool2dShape& p) {
  return {p.taps(), static_cast<std::uint32_t>(p.pixels())};
}

}  // namespace

ValueId ProgramBuilder::window(ValueId images, const Pool2dShape& shape) {
  if (!usable(images, ValueKind::kWord, "window")) return kNoValue;
  if (const std::string problem = window_problem(shape); !problem.empty()) {
    return fail("window: " + problem);
  }
  const Value in = program_.values[images];
  if (in.shape != shape.image_shape()) {
    return fail("window: got shape " + in.shape.str() + ", the window needs " +
                shape.image_shape().str());
  }
  const ValueId out = unary(OpCode::kWindow, images, taps_shape(shape), in.scale_bits);
  if (!failed()) program_.ops.back().pool = shape;
  return out;
}

ValueId ProgramBuilder::window_grad(ValueId taps, const Pool2dShape& shape) {
  if (!usable(taps, ValueKind::kWord, "window-grad")) return kNoValue;
  if (const std::string problem = window_problem(shape); !problem.empty()) {
    return fail("window-grad: " + problem);
  }
  const Value in = program_.values[taps];
  if (in.shape != taps_shape(shape)) {
    return fail("window-grad: got shape " + in.shape.str() + ", the window needs " +
                taps_shape(shape).str());
  }
  const ValueId out = unary(OpCode::kWindowGrad, taps, shape.image_shape(), in.scale_bits);
  if (!failed()) program_.ops.back().pool = shape;
  return out;
}

ValueId ProgramBuilder::rows(ValueId x, std::uint32_t begin, std::uint32_t step,
                             std::uint32_t count) {
  if (!usable(x, ValueKind::kWord, "rows")) return kNoValue;
  const Value in = program_.values[x];
  if (count == 0 || step == 0 ||
      begin + std::uint64_t{step} * (count - std::uint64_t{1}) >= in.shape[0]) {
    return fail("rows: " + std::to_string(count) + " rows from " + std::to_string(begin) +
                " in steps of " + std::to_string(step) + " do not lie in " + in.shape.str());
  }
  Shape shape = in.shape;
  shape.dims[0] = count;
  const ValueId out = unary(OpCode::kRows, x, shape, in.scale_bits);
  if (failed()) return kNoValue;
  program_.ops.back().begin = begin;
  program_.ops.back().step = step;
  return out;
}

ValueId ProgramBuilder::spread_rows(ValueId x, std::uint32_t begin, std::uint32_t step,
                                    std::uint32_t count) {
  if (!usable(x, ValueKind::kWord, "spread-rows")) return kNoValue;
  const Value in = program_.values[x];
  if (step == 0 || begin + std::uint64_t{step} * (in.shape[0] - std::uint64_t{1}) >= count) {
    return fail("spread-rows: " + in.shape.str() + " from " + std::to_string(begin) +
                " in steps of " + std::to_string(step) + " does not lie in " +
                std::to_string(count) + " rows");
  }
  Shape shape = in.shape;
  shape.dims[0] = count;
  const ValueId out = unary(OpCode::kSpreadRows, x, shape, in.scale_bits);
  if (failed()) return kNoValue;
  program_.ops.back().begin = begin;
  program_.ops.back().step = step;
  return out;
}

ValueId ProgramBuilder::transpose(ValueId x) {
  if (!usable(x, ValueKind::kWord, "transpose")) return kNoValue;
  const Value in = program_.values[x];
  if (in.shape.rank != 2) return fail("transpose: " + in.shape.str() + " is not a matrix");
  return unary(OpCode::kTranspose, x, {in.shape[1], in.shape[0]}, in.scale_bits);
}

ValueId ProgramBuilder::with_public(OpCode code, ValueId x, std::vector<std::uint64_t> words,
                                    int scale_bits) {
  if (!usable(x, ValueKind::kWord, to_string(code))) return kNoValue;
  const Value in = program_.values[x];
  if (words.size() != 1 && words.size() != in.shape.count()) {
    return fail(std::string(to_string(code)) + ": " + std::to_string(words.size()) +
                " public words do not fit " + in.shape.str() +
                "; give one word, or one per element");
  }
  const ValueId out = unary(code, x, in.shape, in.scale_bits + scale_bits);
  if (!failed()) program_.ops.back().words = std::move(words);
  return out;
}

ValueId ProgramBuilder::add_public(ValueId x, std::vector<std::uint64_t> words) {
  return with_public(OpCode::kAddPublic, x, std::move(words), 0);
}

ValueId ProgramBuilder::multiply_public(ValueId x, std::vector<std::uint64_t> words,
                                        int scale_bits) {
  return with_public(OpCode::kMultiplyPublic, x, std::move(words), scale_bits);
}

ValueId ProgramBuilder::lookup(ValueId x, std::vector<std::uint64_t> table, int scale_bits) {
  if (!usable(x, ValueKind::kWord, "lookup")) return kNoValue;
  const std::size_t size = table.size();
  if (size < 2 || size > kMaxTable || (size & (size - 1)) != 0) {
    return fail("lookup: a table of " + std::to_string(size) +
                " words; its size must be a power of two from 2 to 4096");
  }
  const ValueId out = unary(OpCode::kLookup, x, program_.values[x].shape, scale_bits);
  if (!failed()) program_.ops.back().words = std::move(table);
  return out;
}

ValueId ProgramBuilder::exact_softmax(ValueId x) {
  if (!usable(x, ValueKind::kWord, "exact-softmax")) return kNoValue;
  const Value in = program_.values[x];
  if (in.shape.rank != 2) return fail("exact-softmax: " + in.shape.str() + " is not a matrix");
  return unary(OpCode::kExactSoftmax, x, in.shape, in.scale_bits);
}

ValueId ProgramBuilder::exact_cross_entropy(ValueId x, ValueId onehot, int scale_bits) {
  if (!usable(x, ValueKind::kWord, "exact-cross-entropy")) return kNoValue;
  if (!usable(onehot, ValueKind::kWord, "exact-cross-entropy")) return kNoValue;
  const Value in = program_.values[x];
  if (in.shape.rank != 2 || in.shape != program_.values[onehot].shape) {
    return fail("exact-cross-entropy: scores and labels must be matrices of one shape");
  }
  const ValueId out = unary(OpCode::kExactCrossEntropy, x, {1}, scale_bits);
  if (!failed()) program_.ops.back().inputs.push_back(onehot);
  return out;
}

}  // namespace beaverpond
