#include "offline/plan/program_hash.h"

#include <vector>

namespace beaverpond {
namespace {

class Encoder {
 public:
  void put(std::uint64_t v) {
    for (int i = 0; i < 8; ++i) bytes_.push_back(static_cast<std::uint8_t>(v >> (8 * i)));
  }
  void put(const Shape& shape) {
    put(shape.rank);
    for (const std::uint32_t dim : shape.dims) put(dim);
  }
  template <class List>
  void put_list(const List& list) {
    put(list.size());
    for (const auto item : list) put(item);
  }
  const std::vector<std::uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<std::uint8_t> bytes_;
};

void put_op(Encoder& out, const Op& op) {
  out.put_list(op.inputs);
  const Conv2dShape& c = op.conv;
  const Pool2dShape& p = op.pool;
  for (const std::uint64_t v :
       {std::uint64_t{static_cast<std::uint16_t>(op.code)}, std::uint64_t{op.out},
        std::uint64_t{op.bit}, std::uint64_t{op.shift}, std::uint64_t{op.round_to_nearest},
        std::uint64_t{op.transpose_x}, std::uint64_t{op.transpose_y}, std::uint64_t{op.owner},
        std::uint64_t{op.slot}, op.receivers, std::uint64_t{op.begin}, std::uint64_t{op.step},
        std::uint64_t{op.fixed}, std::uint64_t{p.clamp}}) {
    out.put(v);
  }
  for (const std::uint32_t v :
       {c.batch, c.height, c.width, c.in_channels, c.out_channels, c.kernel, c.stride, c.pad_before,
        c.pad_after, p.batch, p.height, p.width, p.channels, p.window_height, p.window_width,
        p.stride, p.pad_before, p.pad_after}) {
    out.put(v);
  }
  out.put_list(op.words);
}

}  // namespace

Hash256 program_hash(const Program& program) {
  Encoder out;
  out.put(program.members);
  out.put(program.values.size());
  for (const Value& value : program.values) {
    out.put(static_cast<std::uint64_t>(value.kind));
    out.put(value.shape);
    out.put(static_cast<std::uint64_t>(value.scale_bits));
  }
  out.put(program.ops.size());
  for (const Op& op : program.ops) put_op(out, op);
  return sha256(out.bytes());
}

}  // namespace beaverpond
