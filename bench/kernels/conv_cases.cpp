#include "bench/kernels/conv_cases.h"

#include <algorithm>

#include "bench/kernels/eigen_gemm.h"
#include "bench/kernels/lenet_convolutions.h"
#include "kernels/gemm/conv.h"

namespace beaverpond {
namespace {

using Words = std::vector<std::uint64_t>;

struct ConvData {
  Conv2dShape shape;
  Words x, y, ours, theirs, patches;
  AlignedBytes workspace{nullptr, &std::free};
};

/// Calls visit(offset in the patches, offset in the images) for each kernel row of each patch: both
/// hold kernel * in_channels consecutive words there. No padding.
template <class Visit>
void for_each_strip(const Conv2dShape& s, Visit visit) {
  const std::size_t strip = std::size_t{s.kernel} * s.in_channels;
  std::size_t at = 0;
  for (std::size_t image = 0; image < s.batch; ++image) {
    for (std::size_t y = 0; y < s.out_height(); ++y) {
      for (std::size_t x = 0; x < s.out_width(); ++x) {
        for (std::size_t row = 0; row < s.kernel; ++row, at += strip) {
          const std::size_t line = image * s.height + y * s.stride + row;
          visit(at, (line * s.width + x * s.stride) * s.in_channels);
        }
      }
    }
  }
}

void im2col(const Conv2dShape& s, const Words& images, Words& patches) {
  const std::size_t strip = std::size_t{s.kernel} * s.in_channels;
  for_each_strip(s, [&](std::size_t to, std::size_t from) {
    std::copy_n(images.data() + from, strip, patches.data() + to);
  });
}

void col2im(const Conv2dShape& s, const Words& patches, Words& images) {
  const std::size_t strip = std::size_t{s.kernel} * s.in_channels;
  std::fill(images.begin(), images.end(), 0);
  for_each_strip(s, [&](std::size_t from, std::size_t to) {
    for (std::size_t i = 0; i < strip; ++i) images[to + i] += patches[from + i];
  });
}

void run_ours(ConvData& d, ConvKind pass) {
  const std::span<std::byte> scratch(d.workspace.get(), conv2d_workspace_size_bytes(d.shape));
  switch (pass) {
    case ConvKind::kForward:
      return conv2d(d.shape, d.x.data(), d.y.data(), d.ours.data(), false, scratch);
    case ConvKind::kGradWeight:
      return conv2d_grad_weight(d.shape, d.x.data(), d.y.data(), d.ours.data(), false, scratch);
    case ConvKind::kGradInput:
      return conv2d_grad_input(d.shape, d.x.data(), d.y.data(), d.ours.data(), false, scratch);
  }
}

void run_theirs(ConvData& d, ConvKind pass) {
  const std::size_t rows = d.shape.patch_rows(), columns = d.shape.patch_columns();
  const std::size_t channels = d.shape.out_channels;
  if (pass == ConvKind::kGradInput) {
    eigen_gemm(d.x.data(), d.y.data(), d.patches.data(), rows, channels, columns, false, true);
    return col2im(d.shape, d.patches, d.theirs);
  }
  im2col(d.shape, d.x, d.patches);
  if (pass == ConvKind::kForward) {
    eigen_gemm(d.patches.data(), d.y.data(), d.theirs.data(), rows, columns, channels);
  } else {
    eigen_gemm(d.patches.data(), d.y.data(), d.theirs.data(), columns, rows, channels, true);
  }
}

KernelCase conv_case(const std::string& name, const Conv2dShape& shape, ConvKind pass) {
  const auto d = std::make_shared<ConvData>();
  std::mt19937_64 random(shape.patch_columns());
  const std::size_t images = shape.image_shape().count(), weights = shape.weight_shape().count();
  const std::size_t results = shape.result_shape().count();
  d->shape = shape;
  d->x = random_words(pass == ConvKind::kGradInput ? results : images, random);
  d->y = random_words(pass == ConvKind::kGradWeight ? results : weights, random);
  d->ours.resize(pass == ConvKind::kForward      ? results
                 : pass == ConvKind::kGradWeight ? weights
                                                 : images);
  d->theirs.resize(d->ours.size());
  d->patches.resize(shape.patch_rows() * shape.patch_columns());
  d->workspace = aligned_bytes(conv2d_workspace_size_bytes(shape));
  KernelCase result;
  result.name = name;
  result.unit = "MAC/s";
  result.reference = "im2col, Eigen 3.4 int64";
  result.work = static_cast<double>(shape.patch_rows()) *
                static_cast<double>(shape.patch_columns()) * shape.out_channels;
  result.ours = [=] { run_ours(*d, pass); };
  result.theirs = [=] { run_theirs(*d, pass); };
  result.agree = [=] {
    run_ours(*d, pass);
    run_theirs(*d, pass);
    return d->ours == d->theirs;
  };
  return result;
}

}  // namespace

std::vector<KernelCase> conv_cases() {
  std::vector<KernelCase> cases;
  for (const NamedConvolution& c : kLenetConvolutions) {
    cases.push_back(conv_case(c.name, c.shape, c.kind));
  }
  return cases;
}

}  // namespace beaverpond
