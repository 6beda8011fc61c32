// The Program: a flat list of typed operations on secret-shared tensors. It is the contract between
// the model (online/nn), the layout of the correlated randomness (offline/plan), the engine
// (online/protocol) and the plaintext twin. Values are in single assignment: an operation reads
// values made before it and makes new ones.
//
// Words are elements of Z mod 2^64; a value with scale_bits s holds round(x * 2^s).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "beaverpond/shape.h"

namespace beaverpond {

using ValueId = std::uint32_t;
inline constexpr ValueId kNoValue = 0xffffffffu;

/// What an operation does; x, y are inputs[0], inputs[1]. Truncations round towards minus infinity
/// after adding 2^(shift-1) when `round_to_nearest`; call that sum x'.
/// Domain of every truncation: -2^62 <= x' < 2^62. The engine cannot see a violation, so the
/// plaintext twin checks each and fails with layer and step.
enum class OpCode : std::uint16_t {
  kInput = 1,         ///< out = rows that player `owner` shares in this run (input number `slot`)
  kState = 2,         ///< out = the persistent shared tensor number `slot`
  kTruncate = 3,      ///< out = floor(x' / 2^shift)
  kReluTruncate = 4,  ///< out = max(floor(x' / 2^shift), 0), bit = [x' >= 0]
  kTruncateTimesBit = 5,   ///< out = floor(x' / 2^shift) * y; y is the bit of a kReluTruncate
  kRelu = 6,               ///< out = max(x, 0), bit = [x >= 0]; exact for every signed 64-bit x
  kMultiplyBit = 7,        ///< out = x * y; y is the bit of a kRelu or kReluTruncate
  kBitToWord = 8,          ///< out = 1 where the bit x is set, else 0; scale_bits 0; local
  kMatMul = 9,             ///< out = op(x) * op(y), op transposes a matrix when its flag is set
  kConv2d = 10,            ///< out = convolution of images x with weights y
  kConv2dGradWeight = 11,  ///< x images, y gradient of the result; out has the weights' shape
  kConv2dGradInput = 12,   ///< x gradient of the result, y weights; out has the images' shape
  kMultiply = 13,          ///< out = x * y, element by element
  kAdd = 14,               ///< out = x + y; local, as are all below
  kSubtract = 15,          ///< out = x - y
  kAddRow = 16,            ///< out = x + y, y one row [n] added to every row of x [..., n]
  kSumRows = 17,           ///< out[n] = sum of the rows of x [..., n]
  kShiftLeft = 18,         ///< out = x * 2^shift
  kConcatRows = 19,        ///< out = all inputs joined along the first dimension
  kReshape = 20,           ///< out = x with another shape of the same count
  kUpdate = 21,            ///< state[slot] becomes x - m * y; m is the run's step multiplier
  kReveal = 22,  ///< the players whose bits are set in `receivers` learn x (reveal `slot`)
  kAssign = 23,  ///< state[slot] becomes x
  kWindow = 24,  ///< out[t] = what tap t of the window `pool` sees of the images x: [taps, pixels]
  kWindowGrad = 25,  ///< the transpose of kWindow: taps summed back into images
  kRows = 26,        ///< out = rows begin, begin + step, .. of x; local, as are all down to 30
  kSpreadRows = 27,  ///< the transpose of kRows: x's rows at begin, begin + step, ..; others zero
  kTranspose = 28,   ///< out[n,m] = x[m,n]
  kAddPublic = 29,   ///< out = x + words; one word for all elements, or a word each
  kMultiplyPublic = 30,     ///< out = x * words, likewise
  kLookup = 31,             ///< out = words[x], 0 <= x < words.size(), a power of two; 1 round
  kExactSoftmax = 32,       ///< out = softmax of x's rows; in plaintext and floating point only
  kExactCrossEntropy = 33,  ///< out = sum of -log softmax(x) where y is 1; likewise
};

enum class ValueKind : std::uint16_t {
  kWord = 1,  ///< arithmetic sharing of words
  kBit = 2,   ///< sharing of bits, as the comparison left it
};

struct Value {
  ValueKind kind = ValueKind::kWord;
  Shape shape;
  int scale_bits = 0;
};

struct Op {
  OpCode code = OpCode::kInput;
  std::vector<ValueId> inputs;
  ValueId out = kNoValue;
  ValueId bit = kNoValue;
  std::uint32_t shift = 0;
  bool round_to_nearest = false;
  bool transpose_x = false;
  bool transpose_y = false;
  Conv2dShape conv;
  std::uint32_t owner = 0;
  std::uint32_t slot = 0;
  std::uint64_t receivers = 0;
  Pool2dShape pool;
  std::uint32_t begin = 0;           ///< kRows, kSpreadRows: first row
  std::uint32_t step = 1;            ///< kRows, kSpreadRows: from a row to the next
  std::vector<std::uint64_t> words;  ///< public words; the table of a kLookup
  /// kInput, kState: the same value in all members of a series, shared and masked once.
  bool fixed = false;
  std::string layer;  ///< for messages only: "dense1", "conv1 backward"
};

struct Program {
  std::vector<Value> values;
  std::vector<Op> ops;
  std::uint32_t inputs = 0;   ///< number of kInput slots
  std::uint32_t states = 0;   ///< number of kState slots
  std::uint32_t reveals = 0;  ///< number of kReveal slots
  /// Runs of one bundle. What depends on fixed values alone is computed in the first and kept.
  std::uint32_t members = 1;

  const Value& value(ValueId id) const {
    BP_CHECK(id < values.size(), "value id outside the program");
    return values[id];
  }
};

/// The name of an operation in messages and tables ("relu-truncate").
inline const char* to_string(OpCode code) {
  switch (code) {
    case OpCode::kInput: return "input";
    case OpCode::kState: return "state";
    case OpCode::kTruncate: return "truncate";
    case OpCode::kReluTruncate: return "relu-truncate";
    case OpCode::kTruncateTimesBit: return "truncate-times-bit";
    case OpCode::kRelu: return "relu";
    case OpCode::kMultiplyBit: return "multiply-bit";
    case OpCode::kBitToWord: return "bit-to-word";
    case OpCode::kMatMul: return "matmul";
    case OpCode::kConv2d: return "conv2d";
    case OpCode::kConv2dGradWeight: return "conv2d-grad-weight";
    case OpCode::kConv2dGradInput: return "conv2d-grad-input";
    case OpCode::kMultiply: return "multiply";
    case OpCode::kAdd: return "add";
    case OpCode::kSubtract: return "subtract";
    case OpCode::kAddRow: return "add-row";
    case OpCode::kSumRows: return "sum-rows";
    case OpCode::kShiftLeft: return "shift-left";
    case OpCode::kConcatRows: return "concat-rows";
    case OpCode::kReshape: return "reshape";
    case OpCode::kUpdate: return "update";
    case OpCode::kReveal: return "reveal";
    case OpCode::kAssign: return "assign";
    case OpCode::kWindow: return "window";
    case OpCode::kWindowGrad: return "window-grad";
    case OpCode::kRows: return "rows";
    case OpCode::kSpreadRows: return "spread-rows";
    case OpCode::kTranspose: return "transpose";
    case OpCode::kAddPublic: return "add-public";
    case OpCode::kMultiplyPublic: return "multiply-public";
    case OpCode::kLookup: return "lookup";
    case OpCode::kExactSoftmax: return "exact-softmax";
    case OpCode::kExactCrossEntropy: return "exact-cross-entropy";
  }
  return "unknown";
}

}  // namespace beaverpond
