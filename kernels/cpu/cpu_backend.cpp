// The Backend of one CPU: every operation is complete when its call returns.
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "kernels/compare_sizes.h"
#include "kernels/cpu/compare_kernels.h"
#include "kernels/cpu/layout_ops.h"
#include "kernels/cpu/lookup.h"
#include "kernels/cpu/prg.h"
#include "kernels/cpu/shared_products.h"
#include "kernels/gemm/conv.h"
#include "kernels/gemm/gemm.h"
#include "kernels/math/compare_block.h"
#include "kernels/pinning.h"
#include "kernels/securenn_backend.h"

namespace beaverpond {
namespace {

/// Buffers hold shares and masks: nothing of them stays in freed memory.
void wipe_and_free(void* data) {
  explicit_bzero(data, malloc_usable_size(data));
  std::free(data);
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads) : crew_(threads) {}
  Result<void> pin(std::span<const int> cpus) { return crew_.pin(cpus); }

  std::string name() const override {
    return std::string("cpu (gemm ") + to_string(best_gemm_kernel()) + ", bits " +
           cpu::best_compare_kernels().name +
           (crew_.size() > 1 ? ", " + std::to_string(crew_.size()) + " threads)" : ")");
  }

  MemoryKind memory() const override { return MemoryKind::kHost; }

  Result<Buffer> allocate(ByteCount size) override {
    if (size.value == 0) return Buffer();
    const std::uint64_t rounded = (size.value + 63) / 64 * 64;
    void* data = std::aligned_alloc(64, rounded);
    if (data == nullptr) {
      return make_error(ErrorCode::kOutOfMemory,
                        "cannot allocate " + std::to_string(rounded) +
                            " bytes; use a smaller batch or a machine with more memory");
    }
    std::memset(data, 0, rounded);
    return Buffer(data, size.value, &wipe_and_free);
  }
  Result<Buffer> allocate_host(ByteCount size) override { return allocate(size); }

  void upload(std::span<const std::uint8_t> host, std::span<std::uint8_t> out, StreamRef) override {
    BP_CHECK(host.size() == out.size(), "upload: sizes differ");
    std::copy(host.begin(), host.end(), out.begin());
  }
  void download(std::span<const std::uint8_t> x, std::span<std::uint8_t> host, StreamRef) override {
    BP_CHECK(x.size() == host.size(), "download: sizes differ");
    std::copy(x.begin(), x.end(), host.begin());
  }
  void zero(std::span<std::uint8_t> out, StreamRef) override {
    std::fill(out.begin(), out.end(), std::uint8_t{0});
  }
  Result<void> synchronize(StreamRef) override { return {}; }

  void prg_fill(const Seed& seed, PrgKind prg, std::uint64_t index, std::uint64_t offset_bytes,
                std::span<std::uint8_t> out, StreamRef) override {
    Prg(seed, prg).fill(index, offset_bytes, out);
  }
  void prg_add(const Seed& seed, PrgKind prg, std::uint64_t index, Words words,
               StreamRef) override {
    Prg(seed, prg).add(index, 0, words);
  }
  void prg_subtract(const Seed& seed, PrgKind prg, std::uint64_t index, Words words,
                    StreamRef) override {
    Prg(seed, prg).subtract(index, 0, words);
  }
  void forget_keys(StreamRef) override {}  // none is kept

  void matmul(const MatMulShape& s, ConstWords x, ConstWords y, Words out, bool accumulate,
              StreamRef) override {
    const beaverpond::Factors views[] = {views_of(s, {x, y}, out)};
    shared_gemm(views, out, s.n, accumulate);
  }
  void add_matmuls(const MatMulShape& s, const Factors& first, const Factors& second, Words out,
                   StreamRef) override {
    const beaverpond::Factors views[] = {views_of(s, first, out), views_of(s, second, out)};
    shared_gemm(views, out, s.n, true);
  }

  void conv2d(ConvKind kind, const Conv2dShape& shape, ConstWords x, ConstWords y, Words out,
              bool accumulate, StreamRef) override {
    const ConvFactors factors[] = {{x.data(), y.data()}};
    shared_conv(kind, shape, factors, out, accumulate);
  }
  void add_conv2ds(ConvKind kind, const Conv2dShape& shape, const Factors& first,
                   const Factors& second, Words out, StreamRef) override {
    const ConvFactors factors[] = {{first.x.data(), first.y.data()},
                                   {second.x.data(), second.y.data()}};
    shared_conv(kind, shape, factors, out, true);
  }

  void multiply(ConstWords x, ConstWords y, Words out, bool accumulate, StreamRef) override {
    BP_CHECK(x.size() == out.size() && y.size() == out.size(), "multiply: sizes differ");
    if (accumulate) {
      for (std::size_t i = 0; i < out.size(); ++i) out[i] += x[i] * y[i];
    } else {
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = x[i] * y[i];
    }
  }

  void add(ConstWords x, ConstWords y, Words out, StreamRef) override {
    BP_CHECK(x.size() == out.size() && y.size() == out.size(), "add: sizes differ");
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = x[i] + y[i];
  }
  void subtract(ConstWords x, ConstWords y, Words out, StreamRef) override {
    BP_CHECK(x.size() == out.size() && y.size() == out.size(), "subtract: sizes differ");
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = x[i] - y[i];
  }
  void add_constant(ConstWords x, std::uint64_t constant, Words out, StreamRef) override {
    BP_CHECK(x.size() == out.size(), "add_constant: sizes differ");
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = x[i] + constant;
  }
  void subtract_scaled(std::uint64_t factor, ConstWords x, Words out, StreamRef) override {
    BP_CHECK(x.size() == out.size(), "subtract_scaled: sizes differ");
    for (std::size_t i = 0; i < out.size(); ++i) out[i] -= factor * x[i];
  }
  void shift_left(ConstWords x, int shift, Words out, StreamRef) override {
    BP_CHECK(x.size() == out.size(), "shift_left: sizes differ");
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = x[i] << shift;
  }
  void add_row(ConstWords x, ConstWords row, Words out, StreamRef) override {
    BP_CHECK(x.size() == out.size() && x.size() % row.size() == 0, "add_row: sizes do not fit");
    for (std::size_t at = 0; at < x.size(); at += row.size()) {
      for (std::size_t i = 0; i < row.size(); ++i) out[at + i] = x[at + i] + row[i];
    }
  }
  void sum_rows(ConstWords x, Words out, StreamRef) override {
    BP_CHECK(x.size() % out.size() == 0, "sum_rows: sizes do not fit");
    std::memset(out.data(), 0, out.size_bytes());
    for (std::size_t at = 0; at < x.size(); at += out.size()) {
      for (std::size_t i = 0; i < out.size(); ++i) out[i] += x[at + i];
    }
  }
  void copy(ConstWords x, Words out, StreamRef) override {
    BP_CHECK(x.size() == out.size(), "copy: sizes differ");
    std::memcpy(out.data(), x.data(), x.size_bytes());
  }
  void add_public(ConstWords x, ConstWords words, bool designated, Words out,
                  StreamRef stream) override {
    if (!designated) return copy(x, out, stream);
    if (words.size() == 1) return add_constant(x, words[0], out, stream);
    add(x, words, out, stream);
  }
  void multiply_public(ConstWords x, ConstWords words, Words out, StreamRef stream) override {
    BP_CHECK(x.size() == out.size(), "multiply_public: sizes differ");
    if (words.size() != 1) return multiply(x, words, out, false, stream);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = x[i] * words[0];
  }
  void transpose(std::uint64_t m, std::uint64_t n, ConstWords x, Words out, StreamRef) override {
    cpu::transpose(m, n, x, out);
  }
  void rows(std::uint64_t row_words, std::uint64_t begin, std::uint64_t step, ConstWords x,
            Words out, StreamRef) override {
    cpu::rows(row_words, begin, step, x, out);
  }
  void spread_rows(std::uint64_t row_words, std::uint64_t begin, std::uint64_t step, ConstWords x,
                   Words out, StreamRef) override {
    cpu::spread_rows(row_words, begin, step, x, out);
  }
  void window(const Pool2dShape& shape, ConstWords x, Words out, StreamRef) override {
    cpu::window(shape, x, out);
  }
  void window_grad(const Pool2dShape& shape, ConstWords x, Words out, StreamRef) override {
    cpu::window_grad(shape, x, out);
  }
  void lookup_open(const Material& material, int bits, ConstWords x, Words out,
                   StreamRef) override {
    check_lookup(bits, x, out);
    cpu::lookup_open(material, bits, x, out);
  }
  void lookup_finish(const Material& material, int bits, ConstWords opened, Words out,
                     StreamRef) override {
    check_lookup(bits, opened, out);
    cpu::lookup_finish(material, bits, opened, out);
  }
  void deal_lookup(const DealLookup& deal, StreamRef) override { cpu::deal_lookup(deal); }

  void compare_open(const CompareState& state, ConstWords x, std::uint64_t constant, Words out,
                    StreamRef) override {
    check_compare_open(state, x, out);
    const CompareLayout& layout = *state.layout;
    const Material& material = state.material;
    const Prg prg(*material.seed, material.prg);
    const std::uint64_t added = material.designated ? constant : 0;
    const std::uint64_t block_elements = layout.block_elements();
    std::uint64_t block = state.first_block;
    for (std::uint64_t first = 0; first < x.size(); first += block_elements, ++block) {
      const std::uint64_t n = std::min<std::uint64_t>(block_elements, x.size() - first);
      for (std::uint64_t i = first; i < first + n; ++i) out[i] = x[i] + added;
      prg.add(material.mask_stream, block * layout.mask_record_bytes(), out.subspan(first, n));
    }
  }
  void compare_leaves(const CompareState& state, Words out, StreamRef) override {
    check_compare_leaves(state, out);
    cpu::best_compare_kernels().leaves(state, out);
  }
  void compare_nodes(const CompareState& state, ConstWords leaf, Words out, StreamRef) override {
    check_compare_nodes(state, leaf, out);
    cpu::best_compare_kernels().nodes(state, leaf, out);
  }
  void compare_root(const CompareState& state, ConstWords root, Words out, StreamRef) override {
    check_compare_root(state, root, out);
    cpu::best_compare_kernels().root(state, root, out);
  }
  void compare_finish(const CompareState& state, ConstWords final, ConstWords x,
                      const BitShare& forward, Words out, Words b, StreamRef) override {
    check_compare_finish(state, final, x, forward, out, b);
    cpu::best_compare_kernels().finish(state, final, x, forward, out, b);
  }
  void bit_to_word(const BitShare& bit, bool designated, Words out, StreamRef) override {
    check_bit_to_word(bit, out);
    const std::uint64_t one = designated ? 1 : 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::uint64_t delta = (bit.delta[i >> 6] >> (i & 63)) & 1;
      out[i] = math::times_bit<math::Ring<64>>(delta, one, bit.b[i]);
    }
  }
  void deal_compare(const DealCompare& deal, StreamRef) override {
    check_deal_compare(deal);
    std::vector<std::unique_ptr<Prg>> prgs;
    std::vector<const Prg*> views;
    for (const Seed& seed : deal.seeds) {
      prgs.push_back(std::make_unique<Prg>(seed, deal.prg));
      views.push_back(prgs.back().get());
    }
    cpu::best_compare_kernels().deal(deal, views);
  }

  securenn::SecurennBackend& securenn() override { return securenn::cpu_operations(); }

 private:
  static beaverpond::Factors views_of(const MatMulShape& s, const Factors& f, Words out) {
    BP_CHECK(f.x.size() == s.m * s.k && f.y.size() == s.k * s.n && out.size() == s.m * s.n,
             "matmul: sizes do not fit the shape");
    return {
        row_major(f.x.data(), s.transpose_x ? s.k : s.m, s.transpose_x ? s.m : s.k, s.transpose_x),
        row_major(f.y.data(), s.transpose_y ? s.n : s.k, s.transpose_y ? s.k : s.n, s.transpose_y)};
  }

  void shared_gemm(std::span<const beaverpond::Factors> factors, Words out, std::size_t ldc,
                   bool accumulate) {
    cpu::shared_gemm(crew_, factors, out.data(), ldc, accumulate,
                     workspace(cpu::shared_gemm_size_bytes(crew_)));
  }
  void shared_conv(ConvKind kind, const Conv2dShape& shape, std::span<const ConvFactors> factors,
                   Words out, bool accumulate) {
    cpu::shared_conv(crew_, kind, shape, factors, out.data(), accumulate,
                     workspace(cpu::shared_conv_size_bytes(crew_, kind, shape)));
  }

  /// Scratch memory, grown to the largest shape seen and then kept.
  std::span<std::byte> workspace(std::size_t size) {
    if (scratch_.bytes().size() < size) {
      Result<Buffer> grown = allocate(ByteCount{size});
      BP_CHECK(grown.ok(), "no memory for a kernel's scratch space");
      scratch_ = std::move(grown).value();
    }
    return std::as_writable_bytes(scratch_.bytes()).first(size);
  }

  cpu::Crew crew_;
  Buffer scratch_;
};

}  // namespace

std::uint64_t compare_kept_words(const CompareLayout& layout, std::uint64_t count) {
  return layout.blocks(count) * math::KeptPlanes::kCount *
         static_cast<std::uint64_t>(layout.plane_words);
}

std::unique_ptr<Backend> make_cpu_backend(int threads) {
  return std::make_unique<CpuBackend>(threads);
}

Result<std::unique_ptr<Backend>> make_pinned_cpu_backend(std::span<const int> cpus) {
  auto backend = std::make_unique<CpuBackend>(static_cast<int>(cpus.size()));
  BP_TRY(backend->pin(cpus));
  return std::unique_ptr<Backend>(std::move(backend));
}

}  // namespace beaverpond
