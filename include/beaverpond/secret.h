// Secret tensors for programs of one's own. Arithmetic on them reads like that on plain numbers; it
// computes nothing, but records what the players will compute together (recorder.h, run.h).
//
// Numbers are fixed point: a value x is held as round(x * 2^f), f from the recorder. Products are
// rounded back to f bits where that is needed, and not before. Scalars and rows broadcast: [1] to
// any shape, [n] to [.., n].
//
// A secret has no value here, so nothing can branch on it, print it or compare it with ==. Mistakes
// in shapes make no trouble where they happen: the first is remembered, and Recorder::finish()
// returns it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "beaverpond/program.h"
#include "beaverpond/shape.h"

namespace beaverpond {

class Recording;

/// A constant that all players know. A number converts by itself, tensors are named: Public({1,
/// 2}).
class Public {
 public:
  template <class T>
  requires(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) Public(T value)
      : values_{static_cast<double>(value)}, shape_{1} {}
  explicit Public(std::vector<double> values)
      : values_(std::move(values)), shape_{static_cast<std::uint32_t>(values_.size())} {}
  /// Row-major; a wrong number of values is an error of the operation that uses it.
  Public(std::vector<double> values, Shape shape) : values_(std::move(values)), shape_(shape) {}

  const std::vector<double>& values() const { return values_; }
  const Shape& shape() const { return shape_; }

 private:
  std::vector<double> values_;
  Shape shape_;
};

/// Players by rank, 0..63.
class Players {
 public:
  Players(std::initializer_list<std::uint32_t> ranks)
      : Players(std::vector<std::uint32_t>(ranks)) {}
  explicit Players(const std::vector<std::uint32_t>& ranks) {
    for (const std::uint32_t rank : ranks) {
      if (rank < 64) {
        mask_ |= std::uint64_t{1} << rank;
      } else {
        valid_ = false;
      }
    }
  }
  /// Ranks 0..players-1.
  static Players all(std::uint32_t players) {
    Players out({});
    for (std::uint32_t rank = 0; rank < players && rank < 64; ++rank) {
      out.mask_ |= std::uint64_t{1} << rank;
    }
    return out;
  }
  std::uint64_t mask() const { return mask_; }
  bool valid() const { return valid_; }

 private:
  std::uint64_t mask_ = 0;
  bool valid_ = true;
};

/// A tensor of numbers that nobody sees. Made by Recorder::input() and by operations.
class Secret {
 public:
  Secret(const Secret&) = default;  // no moves: every Secret has its recording
  Secret& operator=(const Secret&) = default;
  /// Public, as all shapes are. Empty after a mistake.
  Shape shape() const;

 private:
  friend class Recording;
  Secret(std::shared_ptr<Recording> recording, ValueId id)
      : recording_(std::move(recording)), id_(id) {}
  std::shared_ptr<Recording> recording_;
  ValueId id_;
};

/// A tensor of answers to a comparison: for select(), &, |, ! and to_number().
class SecretBit {
 public:
  SecretBit(const SecretBit&) = default;  // no moves: every SecretBit has its recording
  SecretBit& operator=(const SecretBit&) = default;
  Shape shape() const;

 private:
  friend class Recording;
  SecretBit(std::shared_ptr<Recording> recording, ValueId id, bool negated)
      : recording_(std::move(recording)), id_(id), negated_(negated) {}
  std::shared_ptr<Recording> recording_;
  ValueId id_;
  bool negated_;
};

// Element by element.
Secret operator+(const Secret& x, const Secret& y);
Secret operator+(const Secret& x, const Public& y);
Secret operator+(const Public& x, const Secret& y);
Secret operator-(const Secret& x, const Secret& y);
Secret operator-(const Secret& x, const Public& y);
Secret operator-(const Public& x, const Secret& y);
Secret operator-(const Secret& x);
Secret operator*(const Secret& x, const Secret& y);
/// By whole numbers up to 2^20 nothing is rounded; others are taken to f bits, small ones to more.
Secret operator*(const Secret& x, const Public& y);
Secret operator*(const Public& x, const Secret& y);
inline Secret& operator+=(Secret& x, const Secret& y) {
  return x = x + y;
}
inline Secret& operator+=(Secret& x, const Public& y) {
  return x = x + y;
}
inline Secret& operator-=(Secret& x, const Secret& y) {
  return x = x - y;
}
inline Secret& operator-=(Secret& x, const Public& y) {
  return x = x - y;
}
inline Secret& operator*=(Secret& x, const Secret& y) {
  return x = x * y;
}
inline Secret& operator*=(Secret& x, const Public& y) {
  return x = x * y;
}
Secret square(const Secret& x);
Secret relu(const Secret& x);
Secret max(const Secret& x, const Secret& y);
Secret max(const Secret& x, const Public& y);
Secret min(const Secret& x, const Secret& y);
Secret min(const Secret& x, const Public& y);

// Comparisons, exact for every value. There is no ==: equal() says what it costs.
SecretBit operator>=(const Secret& x, const Secret& y);
SecretBit operator>=(const Secret& x, const Public& y);
SecretBit operator>=(const Public& x, const Secret& y);
SecretBit operator<=(const Secret& x, const Secret& y);
SecretBit operator<=(const Secret& x, const Public& y);
SecretBit operator<=(const Public& x, const Secret& y);
SecretBit operator>(const Secret& x, const Secret& y);
SecretBit operator>(const Secret& x, const Public& y);
SecretBit operator>(const Public& x, const Secret& y);
SecretBit operator<(const Secret& x, const Secret& y);
SecretBit operator<(const Secret& x, const Public& y);
SecretBit operator<(const Public& x, const Secret& y);
/// Two comparisons and a product.
SecretBit equal(const Secret& x, const Secret& y);
SecretBit operator!(const SecretBit& x);
SecretBit operator&(const SecretBit& x, const SecretBit& y);
SecretBit operator|(const SecretBit& x, const SecretBit& y);
/// x where the bit is set, else y: what an `if` would do.
Secret select(const SecretBit& bit, const Secret& x, const Secret& y);
Secret select(const SecretBit& bit, const Secret& x, const Public& y);
/// 1 or 0.
Secret to_number(const SecretBit& bit);

// Over many elements.
/// Of all elements: [1].
Secret sum(const Secret& x);
/// Relative error up to 2^-f.
Secret mean(const Secret& x);
/// Of the rows of x [.., n]: [n].
Secret sum_rows(const Secret& x);
/// Of two tensors of one count: [1].
Secret dot(const Secret& x, const Secret& y);
/// [m, k] times [k, n].
Secret matmul(const Secret& x, const Secret& y);
/// Free of triples; n multiplications by public words.
Secret matmul(const Secret& x, const Public& y);
/// Over the first dimension: [n] to [1], [rows, n] to [n].
Secret max(const Secret& x);
Secret min(const Secret& x);
/// Index of the first largest (smallest), as a number.
Secret argmax(const Secret& x);
Secret argmin(const Secret& x);
/// Of the rows of x [n, classes], 2..255 classes; to about 2^-10. f is 8..20.
Secret softmax(const Secret& x);

// Moves elements; free.
/// Of a matrix.
Secret transpose(const Secret& x);
/// Of the same count. A Shape has at most four dimensions: one of more ends the process.
Secret reshape(const Secret& x, Shape shape);
/// Rows begin, begin + step, .. of the first dimension, `count` of them.
Secret rows(const Secret& x, std::uint32_t begin, std::uint32_t count, std::uint32_t step = 1);
/// Along the first dimension.
Secret concat(const std::vector<Secret>& parts);
/// [1] to any shape, [n] to [.., n].
Secret broadcast(const Secret& x, Shape shape);

/// `players` learn x, under this name, and nobody else does. All of them must have been allowed to
/// by every input that x depends on (InputSpec::may_learn).
void reveal(const Secret& x, const Players& players, const std::string& name);
void reveal(const SecretBit& x, const Players& players, const std::string& name);

}  // namespace beaverpond
