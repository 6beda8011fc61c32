// What a device can do: coarse, tensor-level operations, each one fused kernel. Two devices exist:
// cpu (kernels/cpu) and cuda. All arithmetic is in Z mod 2^64. Tensors are row-major; images NHWC.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "beaverpond/compare_layout.h"
#include "beaverpond/result.h"
#include "beaverpond/seed.h"
#include "beaverpond/shape.h"
#include "beaverpond/stream.h"
#include "beaverpond/units.h"

namespace beaverpond {

namespace securenn {
class SecurennBackend;  // kernels/securenn_backend.h
}

/// Owns memory, 64-byte aligned, and wipes it at its end. Made by a Backend only, the one
/// allocator; ends before its Backend, and after a synchronize() that follows its last use.
class Buffer {
 public:
  using Deleter = void (*)(void*);

  Buffer() = default;
  Buffer(void* data, std::uint64_t size_bytes, Deleter deleter)
      : data_(data), size_bytes_(size_bytes), deleter_(deleter) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) deleter_(data_);
  }

  std::span<std::uint64_t> words() const {
    return {static_cast<std::uint64_t*>(data_), size_bytes_ / 8};
  }
  std::span<std::uint8_t> bytes() const { return {static_cast<std::uint8_t*>(data_), size_bytes_}; }
  bool empty() const { return size_bytes_ == 0; }

 private:
  void swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(size_bytes_, other.size_bytes_);
    std::swap(deleter_, other.deleter_);
  }
  void* data_ = nullptr;
  std::uint64_t size_bytes_ = 0;
  Deleter deleter_ = nullptr;
};

using Words = std::span<std::uint64_t>;
using ConstWords = std::span<const std::uint64_t>;

inline std::span<std::uint8_t> bytes_of(Words words) {
  return {reinterpret_cast<std::uint8_t*>(words.data()), words.size_bytes()};
}
inline std::span<const std::uint8_t> bytes_of(ConstWords words) {
  return {reinterpret_cast<const std::uint8_t*>(words.data()), words.size_bytes()};
}

/// One player's side of one plan entry: a seed with two streams, and on the designated player the
/// correction, which replaces the second stream.
struct Material {
  const Seed* seed = nullptr;
  PrgKind prg = PrgKind::kAes128Ctr;
  std::uint64_t mask_stream = 0;
  std::uint64_t correction_stream = 0;
  const std::uint8_t* correction = nullptr;  ///< host memory; null: expand correction_stream
  bool designated = false;
};

/// out[m,n] = op(x) op(y); x and y as stored, row-major.
struct MatMulShape {
  std::uint64_t m = 0;
  std::uint64_t n = 0;
  std::uint64_t k = 0;
  bool transpose_x = false;
  bool transpose_y = false;
};

enum class ConvKind : std::uint8_t { kForward, kGradWeight, kGradInput };

/// A comparison in progress on one player: public words, opened planes and kept shares. All memory
/// is the caller's. Planes travel packed: per block the layout's planes, each as many words as the
/// block has elements / 64, rounded up.
struct CompareState {
  const CompareLayout* layout = nullptr;
  std::uint64_t count = 0;
  /// Where its records begin among those of `material`, in blocks: not 0 for a piece of a larger
  /// comparison. All else, memory included, is the piece's own and begins with it.
  std::uint64_t first_block = 0;
  Material material;
  Words opened;  ///< c = x + r; `count` words
  Words kept;    ///< compare_kept_words(layout, count) words of shares between rounds
  Words delta;   ///< packed plane [bit ^ b], ceil(count / 64) words
};

/// Words of CompareState::kept.
std::uint64_t compare_kept_words(const CompareLayout& layout, std::uint64_t count);
/// Words of `planes` packed planes of `count` elements.
inline std::uint64_t packed_words(std::uint64_t planes, std::uint64_t count) {
  return planes * ((count + 63) / 64);
}

/// The sign bit of an earlier ReLU, as its player holds it: [bit] = delta + (1 - 2 delta) [b].
struct BitShare {
  ConstWords delta;  ///< public, packed plane
  ConstWords b;      ///< arithmetic share of the dealt bit b
};

/// Operations of one stream take effect in the order of their calls, and may still be at work when
/// a call returns: synchronize() waits. Until then host memory that a call was given stays valid
/// and, unless the call only reads it, untouched. Seeds, layouts and shapes are read during the
/// call. Every span is memory of allocate(), except where its comment says host memory; such spans
/// may lie anywhere on the host. One thread at a time uses a backend, not always the same one.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;
  /// Where memory of allocate() lies. kHost: host code may read it after synchronize(), and write
  /// it when no operation at work uses it.
  virtual MemoryKind memory() const = 0;

  /// Zeroed. Errors: kOutOfMemory, kDeviceFailed.
  virtual Result<Buffer> allocate(ByteCount size) = 0;
  /// Zeroed host memory that uploads and downloads fast. Errors: as allocate().
  virtual Result<Buffer> allocate_host(ByteCount size) = 0;

  // Between host memory and the backend's: sizes are equal.
  virtual void upload(std::span<const std::uint8_t> host, std::span<std::uint8_t> out,
                      StreamRef stream) = 0;
  /// `host` holds the bytes once synchronize() has returned; until then x stays as it is too, so
  /// that they may travel beside the operations that follow.
  virtual void download(std::span<const std::uint8_t> x, std::span<std::uint8_t> host,
                        StreamRef stream) = 0;
  virtual void zero(std::span<std::uint8_t> out, StreamRef stream) = 0;

  /// Waits until all that the stream was given is done, and returns its first failure, which it
  /// then forgets; what followed a failure did nothing, so that results are not to be used. Errors:
  /// kDeviceFailed, kOutOfMemory.
  virtual Result<void> synchronize(StreamRef stream) = 0;

  // Pseudorandom streams (layout: kernels/cpu/prg.h). Offsets are multiples of 64 bytes.
  virtual void prg_fill(const Seed& seed, PrgKind prg, std::uint64_t index,
                        std::uint64_t offset_bytes, std::span<std::uint8_t> out,
                        StreamRef stream) = 0;
  /// words += the stream.
  virtual void prg_add(const Seed& seed, PrgKind prg, std::uint64_t index, Words words,
                       StreamRef stream) = 0;
  /// words -= the stream.
  virtual void prg_subtract(const Seed& seed, PrgKind prg, std::uint64_t index, Words words,
                            StreamRef stream) = 0;
  /// For who wipes a seed, after the synchronize() that ends its use: what the backend kept of the
  /// seeds that the stream's operations were given, so as not to expand them again, is wiped; in
  /// host memory at once, on a device in the stream's order. Also after a failure.
  virtual void forget_keys(StreamRef stream) = 0;

  // Products.
  virtual void matmul(const MatMulShape& shape, ConstWords x, ConstWords y, Words out,
                      bool accumulate, StreamRef stream) = 0;
  /// kForward: x images, y weights. kGradWeight: x images, y gradient. kGradInput: x gradient,
  /// y weights.
  virtual void conv2d(ConvKind kind, const Conv2dShape& shape, ConstWords x, ConstWords y,
                      Words out, bool accumulate, StreamRef stream) = 0;
  virtual void multiply(ConstWords x, ConstWords y, Words out, bool accumulate,
                        StreamRef stream) = 0;
  /// Two operands of a product.
  struct Factors {
    ConstWords x, y;
  };
  /// out += first.x first.y + second.x second.y, two products of one shape, where a device can with
  /// one pass over `out`.
  virtual void add_matmuls(const MatMulShape& shape, const Factors& first, const Factors& second,
                           Words out, StreamRef stream) {
    matmul(shape, first.x, first.y, out, true, stream);
    matmul(shape, second.x, second.y, out, true, stream);
  }
  virtual void add_conv2ds(ConvKind kind, const Conv2dShape& shape, const Factors& first,
                           const Factors& second, Words out, StreamRef stream) {
    conv2d(kind, shape, first.x, first.y, out, true, stream);
    conv2d(kind, shape, second.x, second.y, out, true, stream);
  }

  // Local linear operations.
  virtual void add(ConstWords x, ConstWords y, Words out, StreamRef stream) = 0;
  virtual void subtract(ConstWords x, ConstWords y, Words out, StreamRef stream) = 0;
  virtual void add_constant(ConstWords x, std::uint64_t constant, Words out, StreamRef stream) = 0;
  /// out -= factor * x.
  virtual void subtract_scaled(std::uint64_t factor, ConstWords x, Words out, StreamRef stream) = 0;
  virtual void shift_left(ConstWords x, int shift, Words out, StreamRef stream) = 0;
  /// out = x + row repeated; x.size() is a multiple of row.size().
  virtual void add_row(ConstWords x, ConstWords row, Words out, StreamRef stream) = 0;
  /// out = sum of the rows of x; x.size() is a multiple of out.size().
  virtual void sum_rows(ConstWords x, Words out, StreamRef stream) = 0;
  virtual void copy(ConstWords x, Words out, StreamRef stream) = 0;
  /// out = x + public words on the designated player, else x: one word for all, or one each. The
  /// words are host memory.
  virtual void add_public(ConstWords x, ConstWords words, bool designated, Words out,
                          StreamRef stream) = 0;
  /// out = x * public words, likewise host memory.
  virtual void multiply_public(ConstWords x, ConstWords words, Words out, StreamRef stream) = 0;
  /// out[n,m] = x[m,n].
  virtual void transpose(std::uint64_t m, std::uint64_t n, ConstWords x, Words out,
                         StreamRef stream) = 0;
  /// out row i = x row begin + i * step; the transpose leaves the rows between zero. Rows of
  /// `row_words` words.
  virtual void rows(std::uint64_t row_words, std::uint64_t begin, std::uint64_t step, ConstWords x,
                    Words out, StreamRef stream) = 0;
  virtual void spread_rows(std::uint64_t row_words, std::uint64_t begin, std::uint64_t step,
                           ConstWords x, Words out, StreamRef stream) = 0;
  /// x images, out [taps, pixels]; and back, summing (include/beaverpond/shape.h, Pool2dShape).
  virtual void window(const Pool2dShape& shape, ConstWords x, Words out, StreamRef stream) = 0;
  virtual void window_grad(const Pool2dShape& shape, ConstWords x, Words out, StreamRef stream) = 0;

  // Comparison, truncation, ReLU: one call a round. The layout decides which rounds exist.
  /// out = x + constant (designated only) + r: the words to open.
  virtual void compare_open(const CompareState& state, ConstWords x, std::uint64_t constant,
                            Words out, StreamRef stream) = 0;
  /// Looks the opened words up; out = masked leaf wires (layout.leaf_wires planes).
  virtual void compare_leaves(const CompareState& state, Words out, StreamRef stream) = 0;
  /// leaf = opened leaf wires; out = masked root wires (layout.root.wires() planes).
  virtual void compare_nodes(const CompareState& state, ConstWords leaf, Words out,
                             StreamRef stream) = 0;
  /// root = opened root wires; out = delta and lambda shares (layout.final_bits planes).
  virtual void compare_root(const CompareState& state, ConstWords root, Words out,
                            StreamRef stream) = 0;
  /// final = opened delta and lambda. Writes state.delta where the layout has a sign, `out` the
  /// result's share, and `b` (if not empty) the share of the dealt bit. `x` is read by kRelu and
  /// kMultiplyBit; `forward` by the uses that take an earlier bit.
  virtual void compare_finish(const CompareState& state, ConstWords final, ConstWords x,
                              const BitShare& forward, Words out, Words b, StreamRef stream) = 0;
  /// out = share of the bit as 0 or 1.
  virtual void bit_to_word(const BitShare& bit, bool designated, Words out, StreamRef stream) = 0;

  /// The dealer's side of a comparison. `seeds`: one per player. `forward_entry` names the entry
  /// whose b is used by kTruncateTimesBit and kMultiplyBit, with its layout. `correction` receives
  /// the designated player's records.
  struct DealCompare {
    const CompareLayout* layout = nullptr;
    std::uint64_t count = 0;
    PrgKind prg = PrgKind::kAes128Ctr;
    std::span<const Seed> seeds;
    int designated = 0;
    std::uint64_t mask_stream = 0;
    std::uint64_t correction_stream = 0;
    const CompareLayout* forward_layout = nullptr;
    std::uint64_t forward_mask_stream = 0;
    std::span<std::uint8_t> correction;
  };
  virtual void deal_compare(const DealCompare& deal, StreamRef stream) = 0;

  // Lookup in a public table of 2^n words at a shared index. The dealer rotates it by the index's
  // mask r, element by element: dealt[v] = table[v - r mod 2^n], so that dealt[x + r] = table[x].
  /// out = (x + r) mod 2^n, the word to open. The mask stream holds a word an element.
  virtual void lookup_open(const Material& material, int bits, ConstWords x, Words out,
                           StreamRef stream) = 0;
  /// opened = sum of all players' words; out = the share of the dealt word at that place.
  virtual void lookup_finish(const Material& material, int bits, ConstWords opened, Words out,
                             StreamRef stream) = 0;
  struct DealLookup {
    ConstWords table;  ///< host memory
    std::uint64_t count = 0;
    PrgKind prg = PrgKind::kAes128Ctr;
    std::span<const Seed> seeds;
    int designated = 0;
    std::uint64_t mask_stream = 0;
    std::uint64_t correction_stream = 0;
    Words correction;  ///< count * table.size()
  };
  virtual void deal_lookup(const DealLookup& deal, StreamRef stream) = 0;

  /// What this device does for SecureNN, in the same streams. Lives as long as the backend.
  virtual securenn::SecurennBackend& securenn() = 0;
};

/// The CPU backend. One thread at a time may use it; large products share `threads`, that one
/// included.
std::unique_ptr<Backend> make_cpu_backend(int threads = 1);

}  // namespace beaverpond
