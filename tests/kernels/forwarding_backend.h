// A Backend that hands every call on: what tests that watch or alter some calls derive from.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "kernels/backend.h"

namespace beaverpond::testing {

class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  std::string name() const override { return inner_->name(); }
  MemoryKind memory() const override { return inner_->memory(); }
  Result<Buffer> allocate(ByteCount size) override { return inner_->allocate(size); }
  Result<Buffer> allocate_host(ByteCount size) override { return inner_->allocate_host(size); }
  void upload(std::span<const std::uint8_t> host, std::span<std::uint8_t> out,
              StreamRef stream) override {
    return inner_->upload(host, out, stream);
  }
  void download(std::span<const std::uint8_t> x, std::span<std::uint8_t> host,
                StreamRef stream) override {
    return inner_->download(x, host, stream);
  }
  void zero(std::span<std::uint8_t> out, StreamRef stream) override {
    return inner_->zero(out, stream);
  }
  Result<void> synchronize(StreamRef stream) override { return inner_->synchronize(stream); }
  void prg_fill(const Seed& seed, PrgKind prg, std::uint64_t index, std::uint64_t offset_bytes,
                std::span<std::uint8_t> out, StreamRef stream) override {
    return inner_->prg_fill(seed, prg, index, offset_bytes, out, stream);
  }
  void prg_add(const Seed& seed, PrgKind prg, std::uint64_t index, Words words,
               StreamRef stream) override {
    return inner_->prg_add(seed, prg, index, words, stream);
  }
  void prg_subtract(const Seed& seed, PrgKind prg, std::uint64_t index, Words words,
                    StreamRef stream) override {
    return inner_->prg_subtract(seed, prg, index, words, stream);
  }
  void forget_keys(StreamRef stream) override { return inner_->forget_keys(stream); }
  void matmul(const MatMulShape& shape, ConstWords x, ConstWords y, Words out, bool accumulate,
              StreamRef stream) override {
    return inner_->matmul(shape, x, y, out, accumulate, stream);
  }
  void conv2d(ConvKind kind, const Conv2dShape& shape, ConstWords x, ConstWords y, Words out,
              bool accumulate, StreamRef stream) override {
    return inner_->conv2d(kind, shape, x, y, out, accumulate, stream);
  }
  void multiply(ConstWords x, ConstWords y, Words out, bool accumulate, StreamRef stream) override {
    return inner_->multiply(x, y, out, accumulate, stream);
  }
  void add(ConstWords x, ConstWords y, Words out, StreamRef stream) override {
    return inner_->add(x, y, out, stream);
  }
  void subtract(ConstWords x, ConstWords y, Words out, StreamRef stream) override {
    return inner_->subtract(x, y, out, stream);
  }
  void add_constant(ConstWords x, std::uint64_t constant, Words out, StreamRef stream) override {
    return inner_->add_constant(x, constant, out, stream);
  }
  void subtract_scaled(std::uint64_t factor, ConstWords x, Words out, StreamRef stream) override {
    return inner_->subtract_scaled(factor, x, out, stream);
  }
  void shift_left(ConstWords x, int shift, Words out, StreamRef stream) override {
    return inner_->shift_left(x, shift, out, stream);
  }
  void add_row(ConstWords x, ConstWords row, Words out, StreamRef stream) override {
    return inner_->add_row(x, row, out, stream);
  }
  void sum_rows(ConstWords x, Words out, StreamRef stream) override {
    return inner_->sum_rows(x, out, stream);
  }
  void copy(ConstWords x, Words out, StreamRef stream) override {
    return inner_->copy(x, out, stream);
  }
  void add_public(ConstWords x, ConstWords words, bool designated, Words out,
                  StreamRef stream) override {
    return inner_->add_public(x, words, designated, out, stream);
  }
  void multiply_public(ConstWords x, ConstWords words, Words out, StreamRef stream) override {
    return inner_->multiply_public(x, words, out, stream);
  }
  void transpose(std::uint64_t m, std::uint64_t n, ConstWords x, Words out,
                 StreamRef stream) override {
    return inner_->transpose(m, n, x, out, stream);
  }
  void rows(std::uint64_t row_words, std::uint64_t begin, std::uint64_t step, ConstWords x,
            Words out, StreamRef stream) override {
    return inner_->rows(row_words, begin, step, x, out, stream);
  }
  void spread_rows(std::uint64_t row_words, std::uint64_t begin, std::uint64_t step, ConstWords x,
                   Words out, StreamRef stream) override {
    return inner_->spread_rows(row_words, begin, step, x, out, stream);
  }
  void window(const Pool2dShape& shape, ConstWords x, Words out, StreamRef stream) override {
    return inner_->window(shape, x, out, stream);
  }
  void window_grad(const Pool2dShape& shape, ConstWords x, Words out, StreamRef stream) override {
    return inner_->window_grad(shape, x, out, stream);
  }
  void compare_open(const CompareState& state, ConstWords x, std::uint64_t constant, Words out,
                    StreamRef stream) override {
    return inner_->compare_open(state, x, constant, out, stream);
  }
  void compare_leaves(const CompareState& state, Words out, StreamRef stream) override {
    return inner_->compare_leaves(state, out, stream);
  }
  void compare_nodes(const CompareState& state, ConstWords leaf, Words out,
                     StreamRef stream) override {
    return inner_->compare_nodes(state, leaf, out, stream);
  }
  void compare_root(const CompareState& state, ConstWords root, Words out,
                    StreamRef stream) override {
    return inner_->compare_root(state, root, out, stream);
  }
  void compare_finish(const CompareState& state, ConstWords final, ConstWords x,
                      const BitShare& forward, Words out, Words b, StreamRef stream) override {
    return inner_->compare_finish(state, final, x, forward, out, b, stream);
  }
  void bit_to_word(const BitShare& bit, bool designated, Words out, StreamRef stream) override {
    return inner_->bit_to_word(bit, designated, out, stream);
  }
  void deal_compare(const DealCompare& deal, StreamRef stream) override {
    return inner_->deal_compare(deal, stream);
  }
  void lookup_open(const Material& material, int bits, ConstWords x, Words out,
                   StreamRef stream) override {
    return inner_->lookup_open(material, bits, x, out, stream);
  }
  void lookup_finish(const Material& material, int bits, ConstWords opened, Words out,
                     StreamRef stream) override {
    return inner_->lookup_finish(material, bits, opened, out, stream);
  }
  void deal_lookup(const DealLookup& deal, StreamRef stream) override {
    return inner_->deal_lookup(deal, stream);
  }
  securenn::SecurennBackend& securenn() override { return inner_->securenn(); }

 private:
  std::unique_ptr<Backend> inner_;
};

}  // namespace beaverpond::testing
