// A device that is far away: the CPU backend behind the rules of a GPU. Host code that touches its
// memory crashes, and nothing is done before synchronize().
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/backend.h"
#include "kernels/securenn_backend.h"

namespace beaverpond::testing {

/// Memory of allocate() is PROT_NONE but for the time in which synchronize() runs what was given;
/// then downloads come last, since they may travel beside the operations that follow. Every call
/// checks which memory it was given, and ending a Buffer, of host memory too, that work still uses
/// aborts.
class FarBackend final : public Backend {
 public:
  explicit FarBackend(std::unique_ptr<Backend> inner = make_cpu_backend())
      : inner_(std::move(inner)) {
    void* const base =
        ::mmap(nullptr, kArenaBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    BP_CHECK(base != MAP_FAILED, "no address space for a test");
    arena_ = static_cast<std::uint8_t*>(base);
  }
  ~FarBackend() override {
    BP_CHECK(work_.empty() && downloads_.empty(), "a backend ended before its work was done");
    const std::lock_guard<std::mutex> guard(registry_mutex());
    for (const auto& [base, region] : registry()) {
      BP_CHECK(region.owner != this, "a Buffer outlived its backend");
    }
    ::munmap(arena_, kArenaBytes);
  }
  FarBackend(const FarBackend&) = delete;             // its Buffers know its address
  FarBackend& operator=(const FarBackend&) = delete;  // its Buffers know its address

  /// The operation `operations` from now fails with this error, once; 0 is the next one.
  void fail_after(std::uint64_t operations, ErrorCode code) { failing_ = {operations, code}; }
  std::uint64_t operations() const { return operations_; }  ///< done so far
  /// Allocations from now on that succeed.
  void allow_allocations(std::uint64_t count) { allocations_left_ = count; }

  std::string name() const override { return "far"; }
  MemoryKind memory() const override { return MemoryKind::kDevice; }

  Result<Buffer> allocate(ByteCount size) override {
    BP_TRY(count_allocation());
    if (size.value == 0) return Buffer();
    const std::uint64_t whole = (size.value + kPage - 1) / kPage * kPage;
    BP_CHECK(arena_used_ + whole + kPage <= kArenaBytes, "a test needs a larger arena");
    std::uint8_t* const base = arena_ + arena_used_;
    arena_used_ += whole + kPage;  // no neighbours, and nothing is given out twice
    const std::lock_guard<std::mutex> guard(registry_mutex());
    registry()[address(base)] = {size.value, this, {}};
    return Buffer(base, size.value, &release);
  }
  Result<Buffer> allocate_host(ByteCount size) override {
    BP_TRY(count_allocation());
    BP_ASSIGN(Buffer host, inner_->allocate_host(size));
    if (host.empty()) return host;
    std::uint8_t* const base = host.bytes().data();
    const std::lock_guard<std::mutex> guard(registry_mutex());
    registry()[address(base)] = {size.value, this, std::move(host)};
    return Buffer(base, size.value, &release);
  }
  void upload(std::span<const std::uint8_t> host, std::span<std::uint8_t> out,
              StreamRef stream) override {
    give({out}, [=](Backend& b) { b.upload(host, out, stream); }, {host});
  }
  void download(std::span<const std::uint8_t> x, std::span<std::uint8_t> host,
                StreamRef stream) override {
    check_near(host);
    BP_CHECK(x.size() == host.size(), "download: sizes differ");
    check_far(x);
    std::fill(host.begin(), host.end(), std::uint8_t{0xdd});  // who reads it now is too early
    downloads_.push_back({{x, host}, [=](Backend& b) { b.download(x, host, stream); }});
  }
  void zero(std::span<std::uint8_t> out, StreamRef stream) override {
    give({out}, [=](Backend& b) { b.zero(out, stream); });
  }
  Result<void> synchronize(StreamRef) override {
    protect(PROT_READ | PROT_WRITE);
    std::optional<Error> failure;
    for (std::vector<Work>* list : {&work_, &downloads_}) {
      for (const Work& work : *list) {
        if (!failure.has_value()) failure = next_failure();
        if (!failure.has_value()) work.run(*inner_);
      }
      list->clear();
    }
    protect(PROT_NONE);
    if (failure.has_value()) return std::move(*failure);
    return {};
  }

  void prg_fill(const Seed& seed, PrgKind prg, std::uint64_t index, std::uint64_t offset_bytes,
                std::span<std::uint8_t> out, StreamRef stream) override {
    give({out}, [=](Backend& b) { b.prg_fill(seed, prg, index, offset_bytes, out, stream); });
  }
  void prg_add(const Seed& seed, PrgKind prg, std::uint64_t index, Words words,
               StreamRef stream) override {
    give({words}, [=](Backend& b) { b.prg_add(seed, prg, index, words, stream); });
  }
  void prg_subtract(const Seed& seed, PrgKind prg, std::uint64_t index, Words words,
                    StreamRef stream) override {
    give({words}, [=](Backend& b) { b.prg_subtract(seed, prg, index, words, stream); });
  }
  void forget_keys(StreamRef stream) override { inner_->forget_keys(stream); }
  void matmul(const MatMulShape& shape, ConstWords x, ConstWords y, Words out, bool accumulate,
              StreamRef stream) override {
    give({x, y, out}, [=](Backend& b) { b.matmul(shape, x, y, out, accumulate, stream); });
  }
  void conv2d(ConvKind kind, const Conv2dShape& shape, ConstWords x, ConstWords y, Words out,
              bool accumulate, StreamRef stream) override {
    give({x, y, out}, [=](Backend& b) { b.conv2d(kind, shape, x, y, out, accumulate, stream); });
  }
  void multiply(ConstWords x, ConstWords y, Words out, bool accumulate, StreamRef stream) override {
    give({x, y, out}, [=](Backend& b) { b.multiply(x, y, out, accumulate, stream); });
  }
  void add(ConstWords x, ConstWords y, Words out, StreamRef stream) override {
    give({x, y, out}, [=](Backend& b) { b.add(x, y, out, stream); });
  }
  void subtract(ConstWords x, ConstWords y, Words out, StreamRef stream) override {
    give({x, y, out}, [=](Backend& b) { b.subtract(x, y, out, stream); });
  }
  void add_constant(ConstWords x, std::uint64_t constant, Words out, StreamRef stream) override {
    give({x, out}, [=](Backend& b) { b.add_constant(x, constant, out, stream); });
  }
  void subtract_scaled(std::uint64_t factor, ConstWords x, Words out, StreamRef stream) override {
    give({x, out}, [=](Backend& b) { b.subtract_scaled(factor, x, out, stream); });
  }
  void shift_left(ConstWords x, int shift, Words out, StreamRef stream) override {
    give({x, out}, [=](Backend& b) { b.shift_left(x, shift, out, stream); });
  }
  void add_row(ConstWords x, ConstWords row, Words out, StreamRef stream) override {
    give({x, row, out}, [=](Backend& b) { b.add_row(x, row, out, stream); });
  }
  void sum_rows(ConstWords x, Words out, StreamRef stream) override {
    give({x, out}, [=](Backend& b) { b.sum_rows(x, out, stream); });
  }
  void copy(ConstWords x, Words out, StreamRef stream) override {
    give({x, out}, [=](Backend& b) { b.copy(x, out, stream); });
  }
  void add_public(ConstWords x, ConstWords words, bool designated, Words out,
                  StreamRef stream) override {
    give({x, out}, [=](Backend& b) { b.add_public(x, words, designated, out, stream); }, {words});
  }
  void multiply_public(ConstWords x, ConstWords words, Words out, StreamRef stream) override {
    give({x, out}, [=](Backend& b) { b.multiply_public(x, words, out, stream); }, {words});
  }
  void transpose(std::uint64_t m, std::uint64_t n, ConstWords x, Words out,
                 StreamRef stream) override {
    give({x, out}, [=](Backend& b) { b.transpose(m, n, x, out, stream); });
  }
  void rows(std::uint64_t row_words, std::uint64_t begin, std::uint64_t step, ConstWords x,
            Words out, StreamRef stream) override {
    give({x, out}, [=](Backend& b) { b.rows(row_words, begin, step, x, out, stream); });
  }
  void spread_rows(std::uint64_t row_words, std::uint64_t begin, std::uint64_t step, ConstWords x,
                   Words out, StreamRef stream) override {
    give({x, out}, [=](Backend& b) { b.spread_rows(row_words, begin, step, x, out, stream); });
  }
  void window(const Pool2dShape& shape, ConstWords x, Words out, StreamRef stream) override {
    give({x, out}, [=](Backend& b) { b.window(shape, x, out, stream); });
  }
  void window_grad(const Pool2dShape& shape, ConstWords x, Words out, StreamRef stream) override {
    give({x, out}, [=](Backend& b) { b.window_grad(shape, x, out, stream); });
  }

  void compare_open(const CompareState& state, ConstWords x, std::uint64_t constant, Words out,
                    StreamRef stream) override {
    compare(state, {x, out}, [=](Backend& b, const CompareState& s) {
      b.compare_open(s, x, constant, out, stream);
    });
  }
  void compare_leaves(const CompareState& state, Words out, StreamRef stream) override {
    compare(state, {out},
            [=](Backend& b, const CompareState& s) { b.compare_leaves(s, out, stream); });
  }
  void compare_nodes(const CompareState& state, ConstWords leaf, Words out,
                     StreamRef stream) override {
    compare(state, {leaf, out},
            [=](Backend& b, const CompareState& s) { b.compare_nodes(s, leaf, out, stream); });
  }
  void compare_root(const CompareState& state, ConstWords root, Words out,
                    StreamRef stream) override {
    compare(state, {root, out},
            [=](Backend& b, const CompareState& s) { b.compare_root(s, root, out, stream); });
  }
  void compare_finish(const CompareState& state, ConstWords final, ConstWords x,
                      const BitShare& forward, Words out, Words part, StreamRef stream) override {
    compare(state, {final, x, forward.delta, forward.b, out, part},
            [=](Backend& b, const CompareState& s) {
              b.compare_finish(s, final, x, forward, out, part, stream);
            });
  }
  void bit_to_word(const BitShare& bit, bool designated, Words out, StreamRef stream) override {
    give({bit.delta, bit.b, out}, [=](Backend& b) { b.bit_to_word(bit, designated, out, stream); });
  }
  void deal_compare(const DealCompare& deal, StreamRef stream) override {
    // What is read during the call: seeds and layouts.
    const std::vector<Seed> seeds(deal.seeds.begin(), deal.seeds.end());
    const CompareLayout layout = *deal.layout;
    std::optional<CompareLayout> forward;
    if (deal.forward_layout != nullptr) forward = *deal.forward_layout;
    give({deal.correction}, [=](Backend& b) {
      DealCompare own = deal;
      own.seeds = seeds;
      own.layout = &layout;
      own.forward_layout = forward.has_value() ? &*forward : nullptr;
      b.deal_compare(own, stream);
    });
  }
  void lookup_open(const Material& material, int bits, ConstWords x, Words out,
                   StreamRef stream) override {
    with(material, {x, out},
         [=](Backend& b, const Material& m) { b.lookup_open(m, bits, x, out, stream); });
  }
  void lookup_finish(const Material& material, int bits, ConstWords opened, Words out,
                     StreamRef stream) override {
    with(material, {opened, out},
         [=](Backend& b, const Material& m) { b.lookup_finish(m, bits, opened, out, stream); });
  }
  void deal_lookup(const DealLookup& deal, StreamRef stream) override {
    const std::vector<Seed> seeds(deal.seeds.begin(), deal.seeds.end());
    const auto run = [=](Backend& b) {
      DealLookup own = deal;
      own.seeds = seeds;
      b.deal_lookup(own, stream);
    };
    give({deal.correction}, run, {deal.table});
  }
  securenn::SecurennBackend& securenn() override { return securenn_; }

 private:
  /// Bytes from anywhere.
  struct Extent {
    Extent(std::span<const std::uint8_t> bytes) : at(address(bytes.data())), size(bytes.size()) {}
    Extent(std::span<std::uint8_t> bytes) : Extent(std::span<const std::uint8_t>(bytes)) {}
    Extent(ConstWords words) : Extent(bytes_of(words)) {}
    Extent(Words words) : Extent(ConstWords(words)) {}
    std::uintptr_t at;
    std::uint64_t size;
  };
  /// Steps hold addresses alone, so that only the pages' protection watches over their tensors.
  class Securenn final : public securenn::SecurennBackend {
   public:
    explicit Securenn(FarBackend& far) : far_(far) {}
    void run(const securenn::Step& step, std::uint64_t count, StreamRef stream) override {
      far_.give({}, [=](Backend& b) { b.securenn().run(step, count, stream); });
    }
    void odd_fill(const securenn::StreamOf& of, Words words, StreamRef stream) override {
      drawn(of, {words}, [=](auto& b, const auto& own) { b.odd_fill(own, words, stream); });
    }
    void odd_subtract(const securenn::StreamOf& of, Words words, StreamRef stream) override {
      drawn(of, {words}, [=](auto& b, const auto& own) { b.odd_subtract(own, words, stream); });
    }
    void draw_digits(const securenn::StreamOf& of, securenn::Bytes out, StreamRef stream) override {
      drawn(of, {out}, [=](auto& b, const auto& own) { b.draw_digits(own, out, stream); });
    }
    void share_bits(ConstWords x, int bits, const securenn::StreamOf& of, securenn::Bytes out,
                    StreamRef stream) override {
      drawn(of, {x, out},
            [=](auto& b, const auto& own) { b.share_bits(x, bits, own, out, stream); });
    }
    void compare(const securenn::PrivateComparison& comparison, securenn::Bytes out,
                 StreamRef stream) override {
      drawn(comparison.common, {comparison.x, comparison.bound, comparison.beta, out},
            [=](auto& b, const auto& own) {
              securenn::PrivateComparison mine = comparison;
              mine.common = own;
              b.compare(mine, out, stream);
            });
    }
    void find_zero(securenn::ConstBytes of_p0, securenn::ConstBytes of_p1, Words out,
                   StreamRef stream) override {
      far_.give({of_p0, of_p1, out},
                [=](Backend& b) { b.securenn().find_zero(of_p0, of_p1, out, stream); });
    }
    void deal_sign(const securenn::SignDeal& deal, StreamRef stream) override {
      const std::vector<Seed> seeds(deal.seeds.begin(), deal.seeds.end());
      far_.give({deal.correction}, [=](Backend& b) {
        securenn::SignDeal own = deal;
        own.seeds = seeds;
        b.securenn().deal_sign(own, stream);
      });
    }
    securenn::ConstBytes read_sign(securenn::SignKind kind, const Material& material,
                                   const securenn::SignShares& out, StreamRef stream) override {
      far_.with(material, {out.mask, out.words, out.memory}, [=](Backend& b, const Material& m) {
        const securenn::ConstBytes digits = b.securenn().read_sign(kind, m, out, stream);
        if (digits.data() == out.memory.data()) return;
        std::copy(digits.begin(), digits.end(), out.memory.begin());
      });
      return out.memory;
    }
    void read_correction(const Material& material, Words out, StreamRef stream) override {
      far_.with(material, {out}, [=](Backend& b, const Material& m) {
        b.securenn().read_correction(m, out, stream);
      });
    }

   private:
    void drawn(const securenn::StreamOf& of, std::initializer_list<Extent> uses,
               std::function<void(securenn::SecurennBackend&, const securenn::StreamOf&)> run) {
      far_.give(uses, [of, seed = *of.seed, run = std::move(run)](Backend& b) {
        run(b.securenn(), {&seed, of.prg, of.index});
      });
    }
    FarBackend& far_;
  };

  struct Work {
    std::vector<Extent> uses;
    std::function<void(Backend&)> run;
  };
  struct Region {
    std::uint64_t size = 0;
    const FarBackend* owner = nullptr;
    Buffer host;  ///< which it is, of allocate_host(); of the arena: empty
  };
  struct Failing {
    std::uint64_t operations = 0;
    ErrorCode code = ErrorCode::kDeviceFailed;
  };

  static std::uintptr_t address(const void* at) { return reinterpret_cast<std::uintptr_t>(at); }
  static std::map<std::uintptr_t, Region>& registry() {
    static std::map<std::uintptr_t, Region> regions;
    return regions;
  }
  static std::mutex& registry_mutex() {
    static std::mutex mutex;
    return mutex;
  }
  /// The region that the first byte lies in, of any backend.
  static std::map<std::uintptr_t, Region>::iterator region_of(const Extent& extent) {
    auto at = registry().upper_bound(extent.at);
    if (at == registry().begin()) return registry().end();
    --at;
    return extent.at < at->first + at->second.size ? at : registry().end();
  }
  void check_far(const Extent& extent) const {
    if (extent.size == 0) return;
    const std::lock_guard<std::mutex> guard(registry_mutex());
    const auto at = region_of(extent);
    BP_CHECK(at != registry().end() && at->second.owner == this && at->second.host.empty(),
             "an operation was given memory that is not its backend's");
    BP_CHECK(extent.at + extent.size <= at->first + at->second.size, "memory beyond a Buffer");
  }
  static void check_near(const Extent& extent) {
    if (extent.size == 0) return;
    const std::lock_guard<std::mutex> guard(registry_mutex());
    const auto at = region_of(extent);
    BP_CHECK(at == registry().end() || !at->second.host.empty(),
             "a device's memory where the host's belongs");
  }
  static void release(void* base) {
    const std::lock_guard<std::mutex> guard(registry_mutex());
    const auto at = registry().find(address(base));
    const Region& region = at->second;
    for (const std::vector<Work>* list : {&region.owner->work_, &region.owner->downloads_}) {
      for (const Work& work : *list) {
        for (const Extent& extent : work.uses) {
          BP_CHECK(extent.size == 0 || region_of(extent) != at,
                   "a Buffer ended while work still uses it");
        }
      }
    }
    if (region.host.empty()) ::madvise(base, region.size, MADV_DONTNEED);
    registry().erase(at);
  }
  void protect(int how) const { BP_CHECK(::mprotect(arena_, arena_used_, how) == 0, "mprotect"); }

  /// `host`: memory that it uses of the host's.
  void give(std::initializer_list<Extent> uses, std::function<void(Backend&)> run,
            std::initializer_list<Extent> host = {}) {
    for (const Extent& extent : uses) check_far(extent);
    for (const Extent& extent : host) check_near(extent);
    work_.push_back({uses, std::move(run)});
    work_.back().uses.insert(work_.back().uses.end(), host.begin(), host.end());
  }
  void with(const Material& material, std::initializer_list<Extent> uses,
            std::function<void(Backend&, const Material&)> run) {
    const auto with_own_seed = [material, seed = *material.seed, run = std::move(run)](Backend& b) {
      Material own = material;
      own.seed = &seed;
      run(b, own);
    };
    const std::size_t first_byte = material.correction == nullptr ? 0 : 1;
    give(uses, with_own_seed, {std::span<const std::uint8_t>(material.correction, first_byte)});
  }
  void compare(const CompareState& state, std::initializer_list<Extent> uses,
               std::function<void(Backend&, const CompareState&)> run) {
    for (const Words words : {state.opened, state.kept, state.delta}) check_far(words);
    with(state.material, uses,
         [state, layout = *state.layout, run = std::move(run)](Backend& b, const Material& m) {
           CompareState own = state;
           own.layout = &layout;
           own.material = m;
           run(b, own);
         });
  }

  std::optional<Error> next_failure() {
    ++operations_;
    if (!failing_.has_value() || failing_->operations-- != 0) return std::nullopt;
    const ErrorCode code = failing_->code;
    failing_.reset();
    return make_error(code, "the far device failed, as it was told to");
  }
  Result<void> count_allocation() {
    if (!allocations_left_.has_value() || (*allocations_left_)-- != 0) return {};
    allocations_left_.reset();
    return make_error(ErrorCode::kOutOfMemory, "the far device is full, as it was told to be");
  }

  static constexpr std::uint64_t kPage = 4096;
  static constexpr std::uint64_t kArenaBytes = std::uint64_t{16} << 30;  // of addresses

  std::unique_ptr<Backend> inner_;
  Securenn securenn_{*this};
  std::uint8_t* arena_ = nullptr;
  std::uint64_t arena_used_ = 0;
  std::vector<Work> work_;
  std::vector<Work> downloads_;
  std::optional<Failing> failing_;
  std::optional<std::uint64_t> allocations_left_;
  std::uint64_t operations_ = 0;
};

}  // namespace beaverpond::testing
