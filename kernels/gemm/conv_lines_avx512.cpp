// For one row of the images the lines of the gradient that reach it are multiplied by the weights
// of the kernel rows with which they do, all at once:
//   sums[kx,i][x] = sum over lines y and channels o of gradient[y,x,o] * weights[row-y*s,kx,i,o]
// and image[row, x*s + kx, i] is the sum of those that meet there. Words of a line lie by channel,
// pixels in the lanes, so that lanes are full whatever the channels of the images; weights are
// broadcast. The sums of a row are read when those of the next are done: they are read at other
// offsets than they are written, which stores that are still on their way would hold up.
#include <immintrin.h>

#include "kernels/gemm/conv_lines.h"
#include "kernels/gemm/gemm_driver.h"
#include "kernels/gemm/transpose_avx512.h"
#include "kernels/gemm/vpmullq.h"

namespace beaverpond::internal {
namespace {

/// Words of a line by channel, and the weights of the kernel row that is meant for them.
struct Line {
  const std::uint64_t *words, *weights;
};

/// The lines of all terms that reach one row of the images.
struct Lines {
  Line lines[kMostTerms * kMostLineKernel];
  std::size_t count = 0;
  std::size_t depth;        ///< channels
  std::size_t pitch;        ///< words from one channel of a line to the next
  std::size_t weight_step;  ///< words from one row of weights to the next
  const char* ahead;        ///< what is wanted next, asked for in steps while tiles are at work
};

/// A row of C += its word of A times a row of B.
template <std::size_t units>
__attribute__((always_inline)) inline void add_row(Sums& x, const std::uint64_t* ax,
                                                   const BRow& b) {
  using W = Width<units>;
  const __m512i word = broadcast(ax);
  if constexpr (W::kVectors == 1) {
    x.v0 = _mm512_add_epi64(x.v0, _mm512_mullo_epi64(word, b.v0));
  } else {
    constexpr Lanes kSecond = W::kVectors == 2 ? W::kLast : Lanes::kEight;
    add_products<Lanes::kEight, kSecond>(x.v0, word, b.v0, x.v1, word, b.v1);
  }
  if constexpr (W::kVectors == 3) {
    x.v2 = _mm512_add_epi64(x.v2, _mm512_mullo_epi64(word, b.v2));
  }
}

/// Sums of `rows` rows of weights from `row`, of 4 * units pixels from pixel `at`. Whole vectors
/// are written.
template <std::size_t rows, std::size_t units>
inline void tile(Lines& lines, std::size_t row, std::size_t at, std::uint64_t* out,
                 std::size_t out_pitch) {
  using W = Width<units>;
  constexpr Lanes kFirst = W::kVectors == 1 ? W::kLast : Lanes::kEight;
  constexpr Lanes kSecond = W::kVectors == 2 ? W::kLast : Lanes::kEight;
  Sums r0, r1, r2, r3, r4, r5, r6, r7;
  const std::size_t step = lines.weight_step;
  const char* ahead = lines.ahead;
  for (const Line *line = lines.lines, *end = line + lines.count; line != end; ++line) {
    const std::uint64_t* a = line->weights + row * step;
    const std::uint64_t* b = line->words + at;
    for (std::size_t k = 0; k < lines.depth; ++k, ++a, b += lines.pitch) {
      __builtin_prefetch(ahead);
      ahead += 64;
      BRow right;
      right.v0 = load<kFirst>(b);
      if constexpr (W::kVectors > 1) right.v1 = load<kSecond>(b + 8);
      if constexpr (W::kVectors > 2) right.v2 = load<W::kLast>(b + 16);
      if constexpr (rows > 1) add_row_pair<units>(r0, r1, a, a + step, right);
      if constexpr (rows > 3) add_row_pair<units>(r2, r3, a + 2 * step, a + 3 * step, right);
      if constexpr (rows > 5) add_row_pair<units>(r4, r5, a + 4 * step, a + 5 * step, right);
      if constexpr (rows > 7) add_row_pair<units>(r6, r7, a + 6 * step, a + 7 * step, right);
      if constexpr (rows == 1) add_row<units>(r0, a, right);
      if constexpr (rows == 3) add_row<units>(r2, a + 2 * step, right);
      if constexpr (rows == 5) add_row<units>(r4, a + 4 * step, right);
      if constexpr (rows == 7) add_row<units>(r6, a + 6 * step, right);
    }
  }
  lines.ahead = ahead;
  out += row * out_pitch + at;
  const auto store = [&](const Sums& sums) __attribute__((always_inline)) {
    _mm512_storeu_si512(out, sums.v0);
    if constexpr (W::kVectors > 1) _mm512_storeu_si512(out + 8, sums.v1);
    if constexpr (W::kVectors > 2) _mm512_storeu_si512(out + 16, sums.v2);
    out += out_pitch;
  };
  store(r0);
  if constexpr (rows > 1) store(r1);
  if constexpr (rows > 2) store(r2);
  if constexpr (rows > 3) store(r3);
  if constexpr (rows > 4) store(r4);
  if constexpr (rows > 5) store(r5);
  if constexpr (rows > 6) store(r6);
  if constexpr (rows > 7) store(r7);
}

using Tile = void (*)(Lines&, std::size_t, std::size_t, std::uint64_t*, std::size_t);

template <std::size_t rows>
inline Tile tile_of_width(std::size_t units) {
  constexpr Tile tiles[] = {tile<rows, 1>, tile<rows, 2>, tile<rows, 3>,
                            tile<rows, 4>, tile<rows, 5>, tile<rows, 6>};
  return tiles[units - 1];
}

inline Tile tile_for(std::size_t rows, std::size_t units) {
  switch (rows) {
    case 1: return tile_of_width<1>(units);
    case 2: return tile_of_width<2>(units);
    case 3: return tile_of_width<3>(units);
    case 4: return tile_of_width<4>(units);
    case 5: return tile_of_width<5>(units);
    case 6: return tile_of_width<6>(units);
    case 7: return tile_of_width<7>(units);
    default: return tile_of_width<8>(units);
  }
}

/// Some pixels of each line, some channels of the gradient, of one image.
struct Part {
  std::size_t image, first_pixel, pixels, first_channel, channels;
};

class LinesOfGradient {
 public:
  explicit LinesOfGradient(const LinesTask& task)
      : task_(task),
        ring_((task.kernel - 1) / task.stride + 1),
        rows_(task.kernel * task.in_channels),
        chunk_(equal_parts(task.out_width, kLinePixels, 8)),
        pitch_(round_up_to(smaller(chunk_, task.out_width), 8)),
        sums_pitch_(pitch_ + 2 * kLineMargin),
        channels_(equal_parts(task.out_channels, kLineWords / (ring_ * pitch_), 4)),
        sums_(task.workspace + kMostTerms * kLineWords),
        added_(sums_ + 2 * rows_ * sums_pitch_) {}

  void run() {
    Part part{};
    for (part.image = 0; part.image < task_.batch; ++part.image) {
      for (part.first_pixel = 0; part.first_pixel < task_.out_width; part.first_pixel += chunk_) {
        part.pixels = smaller(chunk_, task_.out_width - part.first_pixel);
        std::memset(sums_, 0, 2 * rows_ * sums_pitch_ * 8);
        for (part.first_channel = 0; part.first_channel < task_.out_channels;
             part.first_channel += channels_) {
          part.channels = smaller(channels_, task_.out_channels - part.first_channel);
          run(part);
        }
      }
    }
  }

 private:
  /// [0, count) in parts of at most `most`, each but the last a multiple of `unit`; most >= unit.
  static std::size_t equal_parts(std::size_t count, std::size_t most, std::size_t unit) {
    const std::size_t parts = (count + most - 1) / most;
    return smaller(round_up_to((count + parts - 1) / parts, unit), most / unit * unit);
  }

  /// Of the first term; that of the next is kLineWords further.
  std::uint64_t* line(std::size_t y) const {
    return task_.workspace + y % ring_ * channels_ * pitch_;
  }
  std::uint64_t* sums(std::size_t turn) const { return sums_ + turn % 2 * rows_ * sums_pitch_; }

  void run(const Part& part) {
    std::size_t next = 0;     // line to transpose
    std::size_t turn = 0;     // rows with sums so far
    std::size_t waiting = 0;  // row whose sums are not added yet, if there was a turn
    for (std::size_t row = 0; row < task_.height; ++row) {
      const std::size_t from_top = row + task_.pad_before;
      const std::size_t end = smaller(from_top / task_.stride + 1, task_.out_height);
      const std::size_t first =
          from_top < task_.kernel ? 0 : (from_top - task_.kernel) / task_.stride + 1;
      if (first >= end) continue;
      for (next = next < first ? first : next; next < end; ++next) place(part, next);
      multiply(part, row, first, end, sums(turn) + kLineMargin);
      if (turn > 0) add(part, waiting, sums(turn - 1) + kLineMargin);
      waiting = row;
      ++turn;
    }
    if (turn > 0) add(part, waiting, sums(turn - 1) + kLineMargin);
  }

  /// Line y of the gradient, by channel.
  void place(const Part& part, std::size_t y) const {
    std::uint64_t* out = line(y);
    for (std::size_t t = 0; t < task_.term_count; ++t) {
      const std::size_t pixel =
          (part.image * task_.out_height + y) * task_.out_width + part.first_pixel;
      transpose({task_.terms[t].gradient + pixel * task_.out_channels + part.first_channel,
                 task_.out_channels, part.pixels, part.channels},
                round_up_to(part.pixels, 4), pitch_, out + t * kLineWords);
    }
  }

  /// The sums of a row of the images, to which lines [first, end) add.
  void multiply(const Part& part, std::size_t row, std::size_t first, std::size_t end,
                std::uint64_t* sums) const {
    Lines lines;
    lines.depth = part.channels;
    lines.pitch = pitch_;
    lines.weight_step = task_.out_channels;
    const std::uint64_t* const ring_end = task_.workspace + ring_ * channels_ * pitch_;
    const std::uint64_t* words = line(first);
    for (std::size_t y = first; y < end; ++y) {
      const std::size_t kernel_row = row + task_.pad_before - y * task_.stride;
      for (std::size_t t = 0; t < task_.term_count; ++t) {
        lines.lines[lines.count++] = {
            words + t * kLineWords,
            task_.terms[t].weights + kernel_row * rows_ * task_.out_channels + part.first_channel};
      }
      words += channels_ * pitch_;
      if (words == ring_end) words = task_.workspace;
    }
    lines.ahead = reinterpret_cast<const char*>(
        task_.terms[0].gradient +
        ((part.image * task_.out_height + end) * task_.out_width) * task_.out_channels);
    const std::size_t width = round_up_to(part.pixels, 4), groups = (rows_ + 7) / 8;
    for (std::size_t at = 0, wide = 0; at < width; at += wide) {
      wide = panel_width(width - at, 4, 24);
      for (std::size_t g = 0; g < groups; ++g) {
        const std::size_t from = rows_ * g / groups, to = rows_ * (g + 1) / groups;
        tile_for(to - from, wide / 4)(lines, from, at, sums, sums_pitch_);
      }
    }
  }

  /// The sums of a row to their pixels. Those of kernel column kx = phase + i * stride are meant
  /// for pixel (x + i) * stride + phase of the padded image.
  void add(const Part& part, std::size_t row, const std::uint64_t* sums) const {
    const std::size_t in = task_.in_channels, stride = task_.stride;
    std::uint64_t* image_row = task_.images + (part.image * task_.height + row) * task_.width * in;
    for (std::size_t phase = 0; phase < smaller(stride, task_.kernel); ++phase) {
      const std::size_t count = (task_.kernel - phase - 1) / stride + 1;  // of kernel columns
      // Position p goes to x = p * stride + phase - pad_before.
      const std::size_t base = part.first_pixel * stride + phase;
      const std::size_t before = task_.pad_before, after = before + task_.width;
      const std::size_t first = before > base ? (before - base + stride - 1) / stride : 0;
      const std::size_t positions = part.pixels + count - 1;
      const std::size_t end =
          after > base ? smaller(positions, (after - base + stride - 1) / stride) : 0;
      if (first >= end) continue;
      std::uint64_t* to = image_row + (first * stride + base - before) * in;
      for (std::size_t channel = 0; channel < in; ++channel) {
        const std::uint64_t* from = sums + (phase * in + channel) * sums_pitch_ + first;
        add_words(from, stride * in * sums_pitch_ - 1, count, end - first, to + channel,
                  stride * in);
      }
    }
  }

  /// to[p * step] += the sum of from[p + i * next] over i < count, for p < length.
  void add_words(const std::uint64_t* from, std::size_t next, std::size_t count, std::size_t length,
                 std::uint64_t* to, std::size_t step) const {
    for (std::size_t p = 0; p < length; p += 8) {
      const std::size_t left = smaller(length - p, 8);
      const auto mask = static_cast<__mmask8>((1u << left) - 1u);
      __m512i sum = _mm512_maskz_loadu_epi64(mask, from + p);
      for (std::size_t i = 1; i < count; ++i) {
        sum = _mm512_add_epi64(sum, _mm512_maskz_loadu_epi64(mask, from + p + i * next));
      }
      if (step == 1) {
        sum = _mm512_add_epi64(sum, _mm512_maskz_loadu_epi64(mask, to + p));
        _mm512_mask_storeu_epi64(to + p, mask, sum);
      } else {
        _mm512_storeu_si512(added_, sum);
        for (std::size_t j = 0; j < left; ++j) to[(p + j) * step] += added_[j];
      }
    }
  }

  const LinesTask& task_;
  std::size_t ring_;        ///< lines that are at work
  std::size_t rows_;        ///< of weights: kernel column, channel of the images
  std::size_t chunk_;       ///< pixels of a line at a time
  std::size_t pitch_;       ///< words of a channel of a line
  std::size_t sums_pitch_;  ///< with zeros around
  std::size_t channels_;    ///< of the gradient, at a time
  std::uint64_t *sums_, *added_;
};

}  // namespace

void add_grad_input_by_lines(const LinesTask& task) {
  static_assert(kLinesWorkspaceWords <= kGemmWorkspaceWords);
  LinesOfGradient(task).run();
}

}  // namespace beaverpond::internal
