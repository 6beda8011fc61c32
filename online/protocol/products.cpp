#include "online/protocol/products.h"

namespace beaverpond {
namespace {

/// out += both products.
void add_products(Backend& backend, const Program& program, const Op& op,
                  const Backend::Factors& first, const Backend::Factors& second, Words out) {
  const auto convolutions = [&](ConvKind kind) {
    backend.add_conv2ds(kind, op.conv, first, second, out, kHostStream);
  };
  switch (op.code) {
    case OpCode::kMatMul: {
      const Shape& shape = program.value(op.out).shape;
      const MatMulShape matmul{shape[0], shape[1], first.x.size() / shape[0], op.transpose_x,
                               op.transpose_y};
      backend.add_matmuls(matmul, first, second, out, kHostStream);
      return;
    }
    case OpCode::kMultiply:
      backend.multiply(first.x, first.y, out, true, kHostStream);
      backend.multiply(second.x, second.y, out, true, kHostStream);
      return;
    case OpCode::kConv2d: return convolutions(ConvKind::kForward);
    case OpCode::kConv2dGradWeight: return convolutions(ConvKind::kGradWeight);
    case OpCode::kConv2dGradInput: return convolutions(ConvKind::kGradInput);
    default: BP_CHECK(false, "not a product");
  }
}

}  // namespace

Material entry_material(const Plan& plan, const Bundle& bundle, std::uint32_t entry,
                        std::uint32_t member, bool designated) {
  Material m;
  m.seed = &bundle.seed();
  m.prg = plan.prg;
  m.mask_stream = plan.mask_stream(entry, member);
  m.correction_stream = plan.correction_stream(entry, member);
  m.designated = designated;
  if (m.designated) {
    m.correction = bundle.correction().data() + plan.correction_offset(entry, member);
  }
  return m;
}

void multiply_open(Backend& backend, const Program& program, const Op& op, const Material& material,
                   ValueStore& values) {
  ValueSlot& x = values[op.inputs[0]];
  ValueSlot& y = values[op.inputs[1]];
  const Words out = values[op.out].share;
  if (material.correction != nullptr) {
    backend.upload({material.correction, out.size_bytes()}, bytes_of(out), kHostStream);
  } else {
    backend.prg_fill(*material.seed, material.prg, material.correction_stream, 0, bytes_of(out),
                     kHostStream);
  }
  const Words second = material.designated ? y.shifted.words() : y.mask.words();
  add_products(backend, program, op, {x.opened.words(), second}, {x.mask.words(), y.opened.words()},
               out);
}

}  // namespace beaverpond
