#include "bench/kernels/thread_cases.h"

#include "bench/kernels/lenet_convolutions.h"
#include "kernels/cpu/shared_products.h"

namespace beaverpond {
namespace {

using Words = std::vector<std::uint64_t>;

struct ThreadData {
  cpu::Crew one{1}, two{2};
  Words x, y, of_one, of_two;
  AlignedBytes scratch{nullptr, &std::free};
};

/// run(data, crew, out) computes the same on either crew.
template <class Run>
KernelCase thread_case(const std::string& name, double work, std::shared_ptr<ThreadData> data,
                       Run run) {
  KernelCase result;
  result.name = name + "/2-threads";
  result.unit = "MAC/s";
  result.reference = "one thread";
  result.work = work;
  result.ours = [=] { run(*data, data->two, data->of_two); };
  result.theirs = [=] { run(*data, data->one, data->of_one); };
  result.agree = [=, ours = result.ours, theirs = result.theirs] {
    ours();
    theirs();
    return data->of_two == data->of_one;
  };
  return result;
}

KernelCase square_case(std::size_t n) {
  const auto data = std::make_shared<ThreadData>();
  std::mt19937_64 random(n);
  data->x = random_words(n * n, random);
  data->y = random_words(n * n, random);
  data->of_one = random_words(n * n, random);
  data->of_two = random_words(n * n, random);
  const std::size_t size = cpu::shared_gemm_size_bytes(data->two);
  data->scratch = aligned_bytes(size);
  const std::string side = std::to_string(n);
  const double work = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  return thread_case(
      "gemm/" + side + "x" + side + "x" + side, work, data,
      [=](ThreadData& d, cpu::Crew& crew, Words& out) {
        const Factors factors[] = {{row_major(d.x.data(), n, n), row_major(d.y.data(), n, n)}};
        cpu::shared_gemm(crew, factors, out.data(), n, false, {d.scratch.get(), size});
      });
}

KernelCase conv_case(const std::string& name, const Conv2dShape& shape, ConvKind kind) {
  const auto data = std::make_shared<ThreadData>();
  std::mt19937_64 random(shape.out_channels);
  const std::size_t images = shape.image_shape().count(), weights = shape.weight_shape().count();
  const std::size_t results = shape.result_shape().count();
  data->x = random_words(kind == ConvKind::kGradInput ? results : images, random);
  data->y = random_words(kind == ConvKind::kGradWeight ? results : weights, random);
  const std::size_t out = kind == ConvKind::kForward      ? results
                          : kind == ConvKind::kGradWeight ? weights
                                                          : images;
  data->of_one = random_words(out, random);
  data->of_two = random_words(out, random);
  const std::size_t size = cpu::shared_conv_size_bytes(data->two, kind, shape);
  data->scratch = aligned_bytes(size);
  const double work = static_cast<double>(shape.patch_rows()) *
                      static_cast<double>(shape.patch_columns()) * shape.out_channels;
  return thread_case(name, work, data, [=](ThreadData& d, cpu::Crew& crew, Words& words) {
    const ConvFactors factors[] = {{d.x.data(), d.y.data()}};
    cpu::shared_conv(crew, kind, shape, factors, words.data(), false, {d.scratch.get(), size});
  });
}

}  // namespace

std::vector<KernelCase> thread_cases() {
  std::vector<KernelCase> cases = {square_case(512), square_case(1024)};
  for (const NamedConvolution& c : kLenetConvolutions) {
    cases.push_back(conv_case(c.name, c.shape, c.kind));
  }
  return cases;
}

}  // namespace beaverpond
