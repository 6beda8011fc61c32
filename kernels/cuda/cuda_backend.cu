#include <algorithm>
#include <string>
#include <utility>

#include "kernels/compare_sizes.h"
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/compare_ops.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/launch_elements.cuh"
#include "kernels/cuda/probe.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/securenn_ops.h"
#include "kernels/cuda/streams.h"
#include "kernels/cuda/work.h"

namespace beaverpond {
namespace {

using namespace cuda;

/// Memory that stays with the process between jobs, so that a step allocates nothing.
constexpr ByteCount kKeptMemory{std::uint64_t{2} << 30};

class CudaBackend final : public Backend {
 public:
  CudaBackend(MemoryPool pool, DeviceProperties properties, Stream copies, Event mark,
              const ProductOptions& options, std::string rates_origin,
              std::unique_ptr<LibraryProducts> library, const WorkLimits& limits)
      : work_(std::move(pool), std::move(properties), limits),
        copies_(std::move(copies)),
        mark_(std::move(mark)),
        options_(options),
        rates_origin_(std::move(rates_origin)),
        library_(std::move(library)) {
    options_.library = library_.get();
  }
  ~CudaBackend() override {
    // Host memory that copies still use may end with its owner: none is under way after this.
    (void)synchronize(kHostStream);
  }

  std::string name() const override {
    return "cuda:" + std::to_string(work_.device()) + " (" + work_.properties().name + ") with " +
           rates_origin_;
  }
  MemoryKind memory() const override { return MemoryKind::kDevice; }

  Result<Buffer> allocate(ByteCount size) override { return work_.pool().allocate(size); }
  Result<Buffer> allocate_host(ByteCount size) override {
    BP_TRY(use_device(work_.device()));
    return allocate_pinned(size);
  }

  void upload(std::span<const std::uint8_t> host, std::span<std::uint8_t> out,
              StreamRef ref) override {
    BP_CHECK(host.size() == out.size(), "upload: sizes differ");
    const cudaStream_t stream = work_.enter(ref);
    work_.copy(out.data(), host.data(), host.size(), cudaMemcpyHostToDevice, stream);
  }
  void download(std::span<const std::uint8_t> x, std::span<std::uint8_t> host,
                StreamRef ref) override {
    BP_CHECK(host.size() == x.size(), "download: sizes differ");
    const cudaStream_t stream = work_.enter(ref);
    // On a stream of its own: x stays as it is until synchronize(), so that the copy may travel
    // beside what follows.
    if (!work_.ok()) return;
    work_.note(mark_.record(stream));
    work_.note(mark_.wait_on(copies_.get()));
    work_.copy(host.data(), x.data(), x.size(), cudaMemcpyDeviceToHost, copies_.get());
  }
  void zero(std::span<std::uint8_t> out, StreamRef ref) override {
    const cudaStream_t stream = work_.enter(ref);
    work_.zero(out.data(), out.size(), stream);
  }
  Result<void> synchronize(StreamRef ref) override {
    const cudaStream_t stream = work_.enter(ref);
    // Both, also after a failure: nothing may be at work on the caller's memory any more.
    const Result<void> copied = work_.pool().await_blocking(copies_.get());
    work_.synchronize_blocking(stream);
    work_.note(copied);
    return work_.take_failure();
  }

  void prg_fill(const Seed& seed, PrgKind prg, std::uint64_t index, std::uint64_t offset_bytes,
                std::span<std::uint8_t> out, StreamRef ref) override {
    const cudaStream_t stream = work_.enter(ref);
    run_stream(work_, {&seed, prg, index, offset_bytes}, StreamUse::kFill,
               whole(out.data(), out.size()), stream);
  }
  void prg_add(const Seed& seed, PrgKind prg, std::uint64_t index, Words words,
               StreamRef ref) override {
    const cudaStream_t stream = work_.enter(ref);
    run_stream(work_, {&seed, prg, index, 0}, StreamUse::kAdd,
               whole(words.data(), words.size_bytes()), stream);
  }
  void prg_subtract(const Seed& seed, PrgKind prg, std::uint64_t index, Words words,
                    StreamRef ref) override {
    const cudaStream_t stream = work_.enter(ref);
    run_stream(work_, {&seed, prg, index, 0}, StreamUse::kSubtract,
               whole(words.data(), words.size_bytes()), stream);
  }

  void forget_keys(StreamRef ref) override {
    const cudaStream_t stream = work_.enter(ref);
    work_.forget_keys(stream);
  }

  void matmul(const MatMulShape& s, ConstWords x, ConstWords y, Words out, bool accumulate,
              StreamRef ref) override {
    BP_CHECK(x.size() == s.m * s.k && y.size() == s.k * s.n && out.size() == s.m * s.n,
             "matmul: sizes do not fit the shape");
    const cudaStream_t stream = work_.enter(ref);
    multiply_matrices(work_, options_, s, x.data(), y.data(), out.data(), accumulate, stream);
  }
  void conv2d(ConvKind kind, const Conv2dShape& shape, ConstWords x, ConstWords y, Words out,
              bool accumulate, StreamRef ref) override {
    BP_CHECK(x.size() == (kind == ConvKind::kGradInput ? shape.result_shape() : shape.image_shape())
                             .count() &&
                 y.size() ==
                     (kind == ConvKind::kGradWeight ? shape.result_shape() : shape.weight_shape())
                         .count(),
             "conv2d: sizes do not fit the shape");
    const cudaStream_t stream = work_.enter(ref);
    convolve(work_, options_, kind, shape, x.data(), y.data(), out.data(), accumulate, stream);
  }
  void multiply(ConstWords x, ConstWords y, Words out, bool accumulate, StreamRef ref) override {
    BP_CHECK(x.size() == out.size() && y.size() == out.size(), "multiply: sizes differ");
    if (accumulate) {
      elements(MultiplyAddElement{x.data(), y.data(), out.data()}, out.size(), ref);
    } else {
      elements(MultiplyElement{x.data(), y.data(), out.data()}, out.size(), ref);
    }
  }

  void add(ConstWords x, ConstWords y, Words out, StreamRef ref) override {
    BP_CHECK(x.size() == out.size() && y.size() == out.size(), "add: sizes differ");
    elements(AddElement{x.data(), y.data(), out.data()}, out.size(), ref);
  }
  void subtract(ConstWords x, ConstWords y, Words out, StreamRef ref) override {
    BP_CHECK(x.size() == out.size() && y.size() == out.size(), "subtract: sizes differ");
    elements(SubtractElement{x.data(), y.data(), out.data()}, out.size(), ref);
  }
  void add_constant(ConstWords x, std::uint64_t constant, Words out, StreamRef ref) override {
    BP_CHECK(x.size() == out.size(), "add_constant: sizes differ");
    elements(AddConstantElement{x.data(), constant, out.data()}, out.size(), ref);
  }
  void subtract_scaled(std::uint64_t factor, ConstWords x, Words out, StreamRef ref) override {
    BP_CHECK(x.size() == out.size(), "subtract_scaled: sizes differ");
    elements(SubtractScaledElement{x.data(), factor, out.data()}, out.size(), ref);
  }
  void shift_left(ConstWords x, int shift, Words out, StreamRef ref) override {
    BP_CHECK(x.size() == out.size(), "shift_left: sizes differ");
    elements(ShiftLeftElement{x.data(), shift, out.data()}, out.size(), ref);
  }
  void add_row(ConstWords x, ConstWords row, Words out, StreamRef ref) override {
    BP_CHECK(x.size() == out.size() && x.size() % row.size() == 0, "add_row: sizes do not fit");
    elements(AddRowElement{x.data(), row.data(), row.size(), out.data()}, out.size(), ref);
  }
  void sum_rows(ConstWords x, Words out, StreamRef ref) override {
    BP_CHECK(x.size() % out.size() == 0, "sum_rows: sizes do not fit");
    const cudaStream_t stream = work_.enter(ref);
    work_.zero(out.data(), out.size_bytes(), stream);
    const std::uint64_t rows = x.size() / out.size();
    constexpr std::uint64_t kPart = 256;  // rows of a block
    const dim3 grid(blocks_for(out.size(), 32), std::min(blocks_for(rows, kPart), 65535u));
    const std::uint64_t part = (rows + grid.y - 1) / std::max(grid.y, 1u);
    work_.run("sum rows", &sum_columns, {grid, dim3(32, 8), 0}, stream, x.data(), rows, out.size(),
              part, out.data());
  }
  void copy(ConstWords x, Words out, StreamRef ref) override {
    BP_CHECK(x.size() == out.size(), "copy: sizes differ");
    const cudaStream_t stream = work_.enter(ref);
    work_.copy(out.data(), x.data(), x.size_bytes(), cudaMemcpyDeviceToDevice, stream);
  }
  void add_public(ConstWords x, ConstWords words, bool designated, Words out,
                  StreamRef ref) override {
    if (!designated) return copy(x, out, ref);
    if (words.size() == 1) return add_constant(x, words[0], out, ref);
    const std::uint64_t* const uploaded = upload_public(words, ref);
    if (uploaded != nullptr) {
      elements(AddElement{x.data(), uploaded, out.data()}, out.size(), ref);
    }
  }
  void multiply_public(ConstWords x, ConstWords words, Words out, StreamRef ref) override {
    BP_CHECK(x.size() == out.size(), "multiply_public: sizes differ");
    if (words.size() == 1) {
      return elements(MultiplyConstantElement{x.data(), words[0], out.data()}, out.size(), ref);
    }
    const std::uint64_t* const uploaded = upload_public(words, ref);
    if (uploaded != nullptr) {
      elements(MultiplyElement{x.data(), uploaded, out.data()}, out.size(), ref);
    }
  }
  void transpose(std::uint64_t m, std::uint64_t n, ConstWords x, Words out,
                 StreamRef ref) override {
    BP_CHECK(x.size() == m * n && out.size() == m * n, "transpose: sizes do not fit");
    const cudaStream_t stream = work_.enter(ref);
    const std::uint64_t tiles = std::uint64_t{blocks_for(m, 32)} * blocks_for(n, 32);
    work_.run("transpose", &transpose_words,
              {dim3(static_cast<unsigned>(tiles)), dim3(32, 8), 32 * 33 * 8}, stream, x.data(), m,
              n, out.data());
  }
  void rows(std::uint64_t row_words, std::uint64_t begin, std::uint64_t step, ConstWords x,
            Words out, StreamRef ref) override {
    const std::uint64_t count = out.size() / row_words;
    BP_CHECK((begin + (count - 1) * step + 1) * row_words <= x.size(), "rows: sizes do not fit");
    elements(RowsElement{x.data(), row_words, begin, step, out.data()}, out.size(), ref);
  }
  void spread_rows(std::uint64_t row_words, std::uint64_t begin, std::uint64_t step, ConstWords x,
                   Words out, StreamRef ref) override {
    const std::uint64_t count = x.size() / row_words;
    BP_CHECK((begin + (count - 1) * step + 1) * row_words <= out.size(),
             "spread_rows: sizes do not fit");
    zero(bytes_of(out), ref);
    elements(SpreadRowsElement{x.data(), row_words, begin, step, out.data()}, x.size(), ref);
  }
  void window(const Pool2dShape& shape, ConstWords x, Words out, StreamRef ref) override {
    BP_CHECK(x.size() == shape.image_shape().count() && out.size() == shape.taps() * shape.pixels(),
             "window: sizes do not fit");
    elements(WindowElement{window_geometry(shape), x.data(), shape.pixels(), out.data()},
             out.size(), ref);
  }
  void window_grad(const Pool2dShape& shape, ConstWords x, Words out, StreamRef ref) override {
    BP_CHECK(out.size() == shape.image_shape().count() && x.size() == shape.taps() * shape.pixels(),
             "window_grad: sizes do not fit");
    zero(bytes_of(out), ref);
    elements(WindowGradElement{window_geometry(shape), x.data(), shape.pixels(), out.data()},
             x.size(), ref);
  }

  void compare_open(const CompareState& state, ConstWords x, std::uint64_t constant, Words out,
                    StreamRef ref) override {
    check_compare_open(state, x, out);
    const cudaStream_t stream = work_.enter(ref);
    cuda::compare_open(work_, state, x, constant, out, stream);
  }
  void compare_leaves(const CompareState& state, Words out, StreamRef ref) override {
    check_compare_leaves(state, out);
    const cudaStream_t stream = work_.enter(ref);
    cuda::compare_leaves(work_, state, out, stream);
  }
  void compare_nodes(const CompareState& state, ConstWords leaf, Words out,
                     StreamRef ref) override {
    check_compare_nodes(state, leaf, out);
    const cudaStream_t stream = work_.enter(ref);
    cuda::compare_nodes(work_, state, leaf, out, stream);
  }
  void compare_root(const CompareState& state, ConstWords root, Words out, StreamRef ref) override {
    check_compare_root(state, root, out);
    const cudaStream_t stream = work_.enter(ref);
    cuda::compare_root(work_, state, root, out, stream);
  }
  void compare_finish(const CompareState& state, ConstWords final, ConstWords x,
                      const BitShare& forward, Words out, Words b, StreamRef ref) override {
    check_compare_finish(state, final, x, forward, out, b);
    const cudaStream_t stream = work_.enter(ref);
    cuda::compare_finish(work_, state, final, x, forward, out, b, stream);
  }
  void bit_to_word(const BitShare& bit, bool designated, Words out, StreamRef ref) override {
    check_bit_to_word(bit, out);
    const cudaStream_t stream = work_.enter(ref);
    cuda::bit_to_word(work_, bit, designated, out, stream);
  }
  void deal_compare(const DealCompare& deal, StreamRef ref) override {
    check_deal_compare(deal);
    const cudaStream_t stream = work_.enter(ref);
    cuda::deal_compare(work_, deal, stream);
  }
  void lookup_open(const Material& material, int bits, ConstWords x, Words out,
                   StreamRef ref) override {
    check_lookup(bits, x, out);
    const cudaStream_t stream = work_.enter(ref);
    cuda::lookup_open(work_, material, bits, x, out, stream);
  }
  void lookup_finish(const Material& material, int bits, ConstWords opened, Words out,
                     StreamRef ref) override {
    check_lookup(bits, opened, out);
    const cudaStream_t stream = work_.enter(ref);
    cuda::lookup_finish(work_, material, bits, opened, out, stream);
  }
  void deal_lookup(const DealLookup& deal, StreamRef ref) override {
    const cudaStream_t stream = work_.enter(ref);
    cuda::deal_lookup(work_, deal, stream);
  }
  securenn::SecurennBackend& securenn() override { return securenn_; }

 private:
  template <class F>
  void elements(const F& f, std::uint64_t count, StreamRef ref) {
    const cudaStream_t stream = work_.enter(ref);
    for_elements(work_, f, count, stream);
  }
  /// Public words in scratch memory; null after a failure.
  const std::uint64_t* upload_public(ConstWords words, StreamRef ref) {
    const cudaStream_t stream = work_.enter(ref);
    std::uint8_t* const memory = work_.scratch(words.size_bytes(), stream);
    if (memory == nullptr) return nullptr;
    work_.copy(memory, words.data(), words.size_bytes(), cudaMemcpyHostToDevice, stream);
    return reinterpret_cast<const std::uint64_t*>(memory);
  }

  Work work_;
  SecurennOps securenn_{work_};
  Stream copies_;  ///< carries downloads
  Event mark_;
  ProductOptions options_;
  std::string rates_origin_;
  std::unique_ptr<LibraryProducts> library_;
};

/// The library, where a product may go to it. Without it rates that use it no longer do.
Result<std::unique_ptr<LibraryProducts>> open_library(ProductMethod method, KnownRates& known) {
  const bool by_rates = method == ProductMethod::kAuto && known.rates.library_macs > 0;
  if (method != ProductMethod::kLibrary && !by_rates) return std::unique_ptr<LibraryProducts>();
  Result<std::unique_ptr<LibraryProducts>> library = LibraryProducts::create();
  if (library.ok() || !by_rates) return library;
  known.rates.library_macs = known.rates.library_words = 0;
  known.origin += ", without cuBLASLt, which is not there";
  return std::unique_ptr<LibraryProducts>();
}

}  // namespace

Result<std::unique_ptr<Backend>> make_cuda_backend(int device, const ProductTuning& tuning,
                                                   const WorkLimits& limits) {
  BP_ASSIGN(DeviceProperties properties, device_properties(device));
  BP_TRY(use_device(device));
  BP_ASSIGN(MemoryPool pool, MemoryPool::create(device, kKeptMemory, limits.patience));
  BP_TRY(probe_blocking(pool));
  KnownRates known = rates_of(properties, tuning);
  BP_ASSIGN(std::unique_ptr<LibraryProducts> library, open_library(tuning.method, known));
  const ProductOptions options{tuning.method, known.rates, nullptr};
  BP_ASSIGN(Stream copies, pool.make_stream());
  BP_ASSIGN(Event mark, Event::create());
  std::unique_ptr<Backend> backend = std::make_unique<CudaBackend>(
      std::move(pool), std::move(properties), std::move(copies), std::move(mark), options,
      std::move(known.origin), std::move(library), limits);
  return Result<std::unique_ptr<Backend>>(std::move(backend));
}

}  // namespace beaverpond
