#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "bench/gpu/cases.h"
#include "bench/gpu/tensors.h"

namespace beaverpond {
namespace {

using HostWords = std::vector<std::uint64_t>;

template <class F>
void guarded(DeviceBench& bench, const std::string& name, F&& f) {
  if (!bench.options.wants(name)) return;
  try {
    f();
  } catch (const std::exception& error) {
    bench.report.fail(name, error.what());
  }
}

/// Bytes multiplied and added a second by dense tensor cores, from the data sheets; none: unknown.
std::optional<double> int8_peak(const std::string& device) {
  constexpr std::pair<const char*, double> kPeaks[] = {
      {"A100", 312e12}, {"H100 80GB HBM3", 990e12}, {"H200", 990e12}, {"B200", 2250e12}};
  const std::string own = device.substr(0, device.rfind(") with "));
  for (const auto& [name, peak] : kPeaks) {
    if (own.find(name) != std::string::npos) return peak;
  }
  return std::nullopt;
}

/// What the row could reach if it moved `bytes` at the rate of a copy.
Reference copy_bound(const DeviceBench& bench, double work, double bytes) {
  return {"memory copied as fast", "measured", work / (bytes / bench.copy_bytes_per_second)};
}
/// What a product could reach if its 18 products of bytes ran at the data sheet's rate.
std::optional<Reference> tensor_bound(const DeviceBench& bench) {
  const std::optional<double> peak = int8_peak(bench.backend.name());
  if (!peak) return std::nullopt;
  return Reference{"int8 peak / 18", "recorded", *peak / 18};
}

void add_row(DeviceBench& bench, const std::string& name, double work, const std::string& unit,
             double seconds, std::optional<Reference> reference,
             std::vector<std::pair<std::string, double>> extra) {
  BenchRow row;
  row.reference = std::move(reference);
  row.name = name;
  row.value = work / seconds;
  row.unit = unit;
  row.extra = std::move(extra);
  row.extra.emplace_back("seconds", seconds);
  bench.report.add(std::move(row));
}

void copy_case(DeviceBench& bench) {
  // Needed by the rows that follow, so measured even when it is not asked for.
  Backend& b = bench.backend;
  const std::uint64_t words = bench.options.quick ? 1 << 22 : 1 << 28;
  const Buffer from = random_tensor(b, words, 1);
  const Buffer to = random_tensor(b, words, 2);
  const double seconds = time_on_device(b, bench.least_seconds(),
                                        [&] { b.copy(from.words(), to.words(), kHostStream); });
  bench.copy_bytes_per_second = 16.0 * static_cast<double>(words) / seconds;
  add_row(bench, "device/copy", 16.0 * static_cast<double>(words), "B/s", seconds, {}, {});
}

void prg_cases(DeviceBench& bench) {
  Backend& b = bench.backend;
  const std::uint64_t words = bench.options.quick ? 1 << 20 : 1 << 26;
  for (const PrgKind prg : {PrgKind::kChaCha20, PrgKind::kAes128Ctr}) {
    const std::string name = std::string("device/prg/") + to_string(prg);
    guarded(bench, name, [&] {
      Seed seed;
      seed.mutable_bytes()[3] = 77;
      const Buffer out = random_tensor(b, words, 3);
      b.prg_fill(seed, prg, 5, 0, out.bytes(), kHostStream);
      const auto cpu = make_cpu_backend();
      const HostWords ours = download_words(b, out.words());
      HostWords expected(words);
      cpu->prg_fill(seed, prg, 5, 0, bytes_of(Words(expected)), kHostStream);
      if (ours != expected) return bench.report.fail(name, "the stream's words are wrong");
      const double fill = time_on_device(
          b, bench.least_seconds(), [&] { b.prg_fill(seed, prg, 5, 0, out.bytes(), kHostStream); });
      const double add = time_on_device(b, bench.least_seconds(),
                                        [&] { b.prg_add(seed, prg, 5, out.words(), kHostStream); });
      const double bytes = 8.0 * static_cast<double>(words);
      add_row(bench, name, bytes, "B/s", fill, copy_bound(bench, bytes, bytes),
              {{"add_bytes_per_second", bytes / add}});
    });
  }
}

/// Whether c = a b, by random vectors v: c v = a (b v). Where row i of c is wrong by an odd
/// multiple of 2^j, a vector misses it with probability 2^(j - 63), so three do up to j = 62.
bool product_is_right(const HostWords& a, const HostWords& b, const HostWords& c, std::uint64_t m,
                      std::uint64_t n, std::uint64_t k) {
  std::mt19937_64 random(m * n + k);
  for (int vector = 0; vector < 3; ++vector) {
    HostWords v(n), bv(k);
    for (std::uint64_t& word : v) word = random();
    for (std::uint64_t i = 0; i < k; ++i) {
      for (std::uint64_t j = 0; j < n; ++j) bv[i] += b[i * n + j] * v[j];
    }
    for (std::uint64_t i = 0; i < m; ++i) {
      std::uint64_t abv = 0;
      std::uint64_t cv = 0;
      for (std::uint64_t j = 0; j < k; ++j) abv += a[i * k + j] * bv[j];
      for (std::uint64_t j = 0; j < n; ++j) cv += c[i * n + j] * v[j];
      if (abv != cv) return false;
    }
  }
  return true;
}

void gemm_case(DeviceBench& bench, std::uint64_t m, std::uint64_t n, std::uint64_t k) {
  const std::string name =
      "device/gemm/" + std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n);
  guarded(bench, name, [&] {
    Backend& b = bench.backend;
    const Buffer x = random_tensor(b, m * k, 11);
    const Buffer y = random_tensor(b, k * n, 12);
    const Buffer out = random_tensor(b, m * n, 13);
    const auto multiply = [&] {
      b.matmul({m, n, k, false, false}, x.words(), y.words(), out.words(), false, kHostStream);
    };
    multiply();
    if (!product_is_right(download_words(b, x.words()), download_words(b, y.words()),
                          download_words(b, out.words()), m, n, k)) {
      return bench.report.fail(name, "the product is wrong");
    }
    const double seconds = time_on_device(b, bench.least_seconds(), multiply);
    add_row(bench, name, static_cast<double>(m * n) * static_cast<double>(k), "MAC/s", seconds,
            tensor_bound(bench), {});
  });
}

void conv_case(DeviceBench& bench, const std::string& net, const Conv2dShape& s) {
  struct Kind {
    const char* name;
    ConvKind kind;
    std::uint64_t x, y, out;
  };
  const std::uint64_t images = s.image_shape().count();
  const std::uint64_t weights = s.weight_shape().count();
  const std::uint64_t results = s.result_shape().count();
  for (const Kind& kind : {Kind{"forward", ConvKind::kForward, images, weights, results},
                           Kind{"grad-weight", ConvKind::kGradWeight, images, results, weights},
                           Kind{"grad-input", ConvKind::kGradInput, results, weights, images}}) {
    const std::string name = "device/conv/" + net + "/" + kind.name;
    guarded(bench, name, [&] {
      Backend& b = bench.backend;
      const Buffer x = random_tensor(b, kind.x, 21);
      const Buffer y = random_tensor(b, kind.y, 22);
      const Buffer out = random_tensor(b, kind.out, 23);
      const auto convolve = [&] {
        b.conv2d(kind.kind, s, x.words(), y.words(), out.words(), false, kHostStream);
      };
      convolve();
      const auto cpu = make_cpu_backend();
      HostWords expected(kind.out);
      cpu->conv2d(kind.kind, s, download_words(b, x.words()), download_words(b, y.words()),
                  expected, false, kHostStream);
      if (download_words(b, out.words()) != expected) {
        return bench.report.fail(name, "the convolution is wrong");
      }
      const double seconds = time_on_device(b, bench.least_seconds(), convolve);
      const double macs = static_cast<double>(s.patch_rows() * s.patch_columns()) *
                          static_cast<double>(s.out_channels);
      add_row(bench, name, macs, "MAC/s", seconds, tensor_bound(bench), {});
    });
  }
}

/// One player's four rounds of ReLU with truncation, without the network.
void relu_case(DeviceBench& bench) {
  const std::string name = "device/relu";
  guarded(bench, name, [&] {
    const std::uint64_t count = bench.options.quick ? 1 << 16 : 1 << 24;
    const CompareLayout layout = make_compare_layout(CompareUse::kReluTruncate, 16);
    Seed seed;
    seed.mutable_bytes()[0] = 9;
    const auto planes = [&](int n) { return packed_words(static_cast<std::uint64_t>(n), count); };
    HostWords results[2];
    double seconds = 0;
    const auto cpu = make_cpu_backend();
    for (Backend* const backend : {cpu.get(), &bench.backend}) {
      Backend& b = *backend;
      const Buffer x = random_tensor(b, count, 31);
      const Buffer opened = random_tensor(b, count, 32);
      const Buffer leaf = random_tensor(b, planes(layout.leaf_wires), 33);
      const Buffer root = random_tensor(b, planes(layout.root.wires()), 34);
      const Buffer final_bits = random_tensor(b, planes(layout.final_bits), 35);
      const Buffer kept = random_tensor(b, compare_kept_words(layout, count), 36);
      const Buffer delta = random_tensor(b, planes(1), 37);
      const Buffer wires = random_tensor(b, planes(layout.leaf_wires), 38);
      const Buffer out = random_tensor(b, count, 39);
      const Buffer bit = random_tensor(b, count, 40);
      CompareState state;
      state.layout = &layout;
      state.count = count;
      state.material = {&seed, PrgKind::kChaCha20, 1, 2, nullptr, false};
      state.opened = opened.words();
      state.kept = kept.words();
      state.delta = delta.words();
      const auto rounds = [&] {
        b.compare_open(state, x.words(), 1, out.words(), kHostStream);
        b.compare_leaves(state, wires.words(), kHostStream);
        b.compare_nodes(state, leaf.words(), wires.words().first(planes(layout.root.wires())),
                        kHostStream);
        b.compare_root(state, root.words(), wires.words().first(planes(layout.final_bits)),
                       kHostStream);
        b.compare_finish(state, final_bits.words(), x.words(), {}, out.words(), bit.words(),
                         kHostStream);
      };
      rounds();
      results[backend == cpu.get() ? 0 : 1] = download_words(b, out.words());
      if (backend != cpu.get()) seconds = time_on_device(b, bench.least_seconds(), rounds);
    }
    if (results[0] != results[1]) return bench.report.fail(name, "a result's share is wrong");
    const double material =
        static_cast<double>(layout.correction_record_bytes() + 2 * layout.mask_record_bytes());
    const double elements = static_cast<double>(count);
    add_row(bench, name, elements, "elements/s", seconds,
            copy_bound(bench, elements, material / 512 * elements),
            {{"material_bytes_per_element", material / 512}});
  });
}

}  // namespace

void run_device_cases(DeviceBench& bench) {
  copy_case(bench);
  prg_cases(bench);
  const bool quick = bench.options.quick;
  for (const std::uint64_t n : {128, 256, 512, 1024, 2048, 4096, 8192}) {
    if (!quick || n <= 256) gemm_case(bench, n, n, n);
  }
  if (!quick) {
    gemm_case(bench, 128, 128, 784);
    gemm_case(bench, 4096, 4096, 16384);
  }
  const std::uint32_t batch = quick ? 2 : 128;
  conv_case(bench, "lenet1",
            {.batch = batch,
             .height = 28,
             .width = 28,
             .in_channels = 1,
             .out_channels = 20,
             .kernel = 5});
  conv_case(bench, "lenet2",
            {.batch = batch,
             .height = 12,
             .width = 12,
             .in_channels = 20,
             .out_channels = 50,
             .kernel = 5});
  if (!quick) {
    conv_case(bench, "vgg3x3x128",
              {.batch = 64,
               .height = 32,
               .width = 32,
               .in_channels = 128,
               .out_channels = 128,
               .kernel = 3,
               .pad_before = 1,
               .pad_after = 1});
  }
  relu_case(bench);
}

}  // namespace beaverpond
