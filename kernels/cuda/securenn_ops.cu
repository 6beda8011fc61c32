#include <algorithm>

#include "beaverpond/check.h"
#include "kernels/cuda/launch_elements.cuh"
#include "kernels/cuda/securenn.cuh"
#include "kernels/cuda/securenn_ops.h"
#include "kernels/cuda/securenn_streams.cuh"
#include "kernels/cuda/streams.h"

namespace beaverpond::cuda {
namespace {

using securenn::blocks_of;
using securenn::ConstBytes;
using securenn::StreamOf;

static_assert(kDigitElements == securenn::kBlockElements);
static_assert(kDrawRecordBytes % kAesGroupBytes == 0 && kCompareRecordBytes % kAesGroupBytes == 0);

StreamStart start_of(const StreamOf& of, std::uint64_t offset_bytes = 0) {
  return {of.seed, of.prg, of.index, offset_bytes};
}

/// Blocks whose streams are expanded at a time.
std::uint64_t blocks_at_a_time(const Work& work, std::uint64_t bytes_a_block) {
  return std::max<std::uint64_t>(1, work.limits().chunk_bytes / bytes_a_block);
}

/// The streams of blocks first_block .. first_block + blocks - 1 of a draw, as records.
void expand_records(Work& work, const StreamOf& of, std::uint64_t first_block, std::uint64_t blocks,
                    std::uint32_t record_bytes, std::uint8_t* memory, cudaStream_t stream) {
  StreamRecords records;
  records.data = memory;
  records.units = static_cast<std::uint32_t>(blocks * record_bytes / 64);
  records.record_units = FastDivide(record_bytes / 64);
  const std::uint8_t* const key = work.key(*of.seed, of.prg, stream);
  if (key == nullptr) return;
  const std::uint64_t index = of.index + first_block;
  if (of.prg == PrgKind::kChaCha20) {
    const ChaChaStream start{reinterpret_cast<const ChaChaKey*>(key), index, 0};
    work.run("expand streams of digits", &chacha20_records,
             {dim3(blocks_for(records.units, 128)), dim3(128), 0}, stream, start, records);
    return;
  }
  const AesStream start{reinterpret_cast<const AesKey*>(key), index, 0};
  work.run("expand streams of digits", &aes128_records,
           {dim3(blocks_for(records.units / kAesGroupUnits * 4, 128)), dim3(128), 0}, stream, start,
           records);
}

/// f(first block, blocks, their records) for some blocks at a time.
template <class F>
void for_records(Work& work, const StreamOf& of, std::uint64_t count, std::uint32_t record_bytes,
                 cudaStream_t stream, F f) {
  const std::uint64_t blocks = blocks_of(count);
  const std::uint64_t most = blocks_at_a_time(work, record_bytes);
  for (std::uint64_t first = 0; first < blocks; first += most) {
    const std::uint64_t n = std::min(most, blocks - first);
    std::uint8_t* const memory = work.scratch(n * record_bytes, stream);
    if (memory == nullptr) return;
    expand_records(work, of, first, n, record_bytes, memory, stream);
    f(first, n, memory);
  }
}

const std::uint32_t* halves(ConstBytes bytes) {
  return reinterpret_cast<const std::uint32_t*>(bytes.data());
}
std::uint32_t* halves(securenn::Bytes bytes) {
  return reinterpret_cast<std::uint32_t*>(bytes.data());
}

LaunchShape one_a_block(std::uint64_t blocks, std::uint32_t shared_bytes) {
  return {dim3(static_cast<unsigned>(blocks)), dim3(kDigitThreads), shared_bytes};
}

void start_sharing(Work& work, const DigitsJob& job, std::uint64_t blocks, cudaStream_t stream) {
  work.run("share bits", &cuda::draw_digits<true>, one_a_block(blocks, kDrawSharedBytes), stream,
           job);
}

template <class Step>
struct ElementOf;
#define BP_STEP(name)                \
  template <>                        \
  struct ElementOf<securenn::name> { \
    using type = name##Element;      \
  }
BP_STEP(XorWords);
BP_STEP(ReduceOdd);
BP_STEP(AddOdd);
BP_STEP(SubtractOdd);
BP_STEP(MaskDouble);
BP_STEP(ConvertSum);
BP_STEP(FinishConvert);
BP_STEP(MaskOddDouble);
BP_STEP(FlipBits);
BP_STEP(NotXor);
BP_STEP(FinishTriple);
BP_STEP(DealFused);
BP_STEP(FinishFused);
BP_STEP(SpreadBits);
#undef BP_STEP

}  // namespace

void SecurennOps::run(const securenn::Step& step, std::uint64_t count, StreamRef ref) {
  const cudaStream_t stream = work_.enter(ref);
  std::visit(
      [&]<class Step>(const Step& one) {
        for_elements(work_, typename ElementOf<Step>::type{one}, count, stream);
      },
      step);
}

void SecurennOps::odd_fill(const StreamOf& of, Words words, StreamRef ref) {
  const cudaStream_t stream = work_.enter(ref);
  run_stream(work_, start_of(of), StreamUse::kFill, whole(words.data(), words.size_bytes()),
             stream);
  for_elements(work_, ReduceOddElement{words.data()}, words.size(), stream);
}

void SecurennOps::odd_subtract(const StreamOf& of, Words words, StreamRef ref) {
  const cudaStream_t stream = work_.enter(ref);
  const std::uint64_t most = std::max<std::uint64_t>(8, work_.limits().chunk_bytes / 64 * 8);
  for (std::uint64_t first = 0; first < words.size(); first += most) {
    const std::uint64_t n = std::min<std::uint64_t>(most, words.size() - first);
    auto* const drawn = reinterpret_cast<std::uint64_t*>(work_.scratch(n * 8, stream));
    if (drawn == nullptr) return;
    run_stream(work_, start_of(of, first * 8), StreamUse::kFill, whole(drawn, n * 8), stream);
    for_elements(work_, SubtractOddElement{drawn, words.data() + first}, n, stream);
  }
}

void SecurennOps::draw_digits(const StreamOf& of, securenn::Bytes out, StreamRef ref) {
  const cudaStream_t stream = work_.enter(ref);
  const std::uint64_t count = out.size() / securenn::kPackedBytes;
  for_records(work_, of, count, kDrawRecordBytes, stream,
              [&](std::uint64_t first, std::uint64_t blocks, const std::uint8_t* records) {
                work_.run("draw digits", &cuda::draw_digits<false>,
                          one_a_block(blocks, kDrawSharedBytes), stream,
                          DigitsJob{records, first, count, nullptr, 0, halves(out)});
              });
}

void SecurennOps::share_bits(ConstWords x, int bits, const StreamOf& of, securenn::Bytes out,
                             StreamRef ref) {
  BP_CHECK(out.size() == securenn::packed_bytes(x.size()), "share_bits: sizes differ");
  const cudaStream_t stream = work_.enter(ref);
  for_records(work_, of, x.size(), kDrawRecordBytes, stream,
              [&](std::uint64_t first, std::uint64_t blocks, const std::uint8_t* records) {
                start_sharing(work_,
                              DigitsJob{records, first, x.size(), x.data(),
                                        ~std::uint64_t{0} >> (64 - bits), halves(out)},
                              blocks, stream);
              });
}

void SecurennOps::compare(const securenn::PrivateComparison& c, securenn::Bytes out,
                          StreamRef ref) {
  const std::uint64_t count = c.bound.size();
  BP_CHECK(c.bits == 63 || c.bits == 64, "compare: of 63 or 64 bits");
  BP_CHECK(c.x.size() == securenn::packed_bytes(count) && out.size() == c.x.size() &&
               c.beta.size() >= blocks_of(count),
           "compare: sizes differ");
  const cudaStream_t stream = work_.enter(ref);
  for_records(work_, c.common, count, kCompareRecordBytes, stream,
              [&](std::uint64_t first, std::uint64_t blocks, const std::uint8_t* records) {
                const PrivateCompareJob job{records,     first,          count,
                                            halves(c.x), c.bound.data(), c.beta.data(),
                                            halves(out), c.player,       c.at_least};
                work_.run("compare privately",
                          c.bits == 64 ? &private_compare<64> : &private_compare<63>,
                          one_a_block(blocks, kCompareSharedBytes), stream, job);
              });
}

void SecurennOps::find_zero(ConstBytes of_p0, ConstBytes of_p1, Words out, StreamRef ref) {
  const std::uint64_t count = of_p0.size() / securenn::kPackedBytes;
  BP_CHECK(of_p1.size() == of_p0.size() && out.size() == blocks_of(count),
           "find_zero: sizes differ");
  const cudaStream_t stream = work_.enter(ref);
  work_.run("find zeros", &cuda::find_zero, one_a_block(blocks_of(count), kFindZeroSharedBytes),
            stream, halves(of_p0), halves(of_p1), count,
            reinterpret_cast<std::uint16_t*>(out.data()));
}

void SecurennOps::deal_sign(const securenn::SignDeal& deal, StreamRef ref) {
  const cudaStream_t stream = work_.enter(ref);
  const Seed& other = deal.seeds[deal.designated == 0 ? 1 : 0];
  const bool converted = deal.kind == securenn::SignKind::kConverted;
  const std::uint64_t blocks = blocks_of(deal.count);
  const std::uint64_t most = blocks_at_a_time(work_, kDrawRecordBytes + kDigitElements * 8);
  auto* const words = reinterpret_cast<std::uint64_t*>(deal.correction.data());
  for (std::uint64_t first = 0; first < blocks; first += most) {
    const std::uint64_t n = std::min(most, blocks - first);
    const std::uint64_t at = first * kDigitElements;
    const std::uint64_t elements = std::min<std::uint64_t>(n * kDigitElements, deal.count - at);
    Carving parts;
    const std::uint64_t at_x = parts.add(n * kDigitElements * 8);
    const std::uint64_t at_records = parts.add(n * kDrawRecordBytes);
    std::uint8_t* const memory = work_.scratch(parts.size_bytes(), stream);
    if (memory == nullptr) return;
    auto* const x = reinterpret_cast<std::uint64_t*>(memory + at_x);
    const auto stream_to = [&](const Seed& seed, std::uint64_t index, StreamUse use,
                               std::uint64_t* to) {
      run_stream(work_, {&seed, deal.prg, index, at * 8}, use, whole(to, elements * 8), stream);
    };
    if (converted) {
      stream_to(deal.seeds[0], deal.mask_stream, StreamUse::kFill, x);
      stream_to(deal.seeds[1], deal.mask_stream, StreamUse::kFill, words + at);
      for_elements(work_, SumOddElement{{x, words + at}}, elements, stream);
    } else {
      stream_to(deal.seeds[2], deal.mask_stream, StreamUse::kFill, x);
      work_.copy(words + at, x, elements * 8, cudaMemcpyDeviceToDevice, stream);
    }
    stream_to(other, converted ? deal.correction_stream : deal.mask_stream, StreamUse::kSubtract,
              words + at);
    const StreamOf digits{&other, deal.prg, securenn::digit_stream(deal.correction_stream)};
    expand_records(work_, digits, first, n, kDrawRecordBytes, memory + at_records, stream);
    // The piece is a tensor of its own: its blocks from 0 on.
    const auto out = deal.correction.subspan(deal.count * 8 + securenn::packed_bytes(at));
    start_sharing(work_,
                  DigitsJob{memory + at_records, 0, elements, x,
                            ~std::uint64_t{0} >> (64 - sign_bits(deal.kind)), halves(out)},
                  n, stream);
  }
}

ConstBytes SecurennOps::read_sign(securenn::SignKind kind, const Material& material,
                                  const securenn::SignShares& out, StreamRef ref) {
  const bool converted = kind == securenn::SignKind::kConverted;
  if (converted) {
    odd_fill({material.seed, material.prg, material.mask_stream}, out.mask, ref);
  }
  const cudaStream_t stream = work_.enter(ref);
  if (material.correction != nullptr) {
    work_.copy(out.words.data(), material.correction, out.words.size_bytes(),
               cudaMemcpyHostToDevice, stream);
    work_.copy(out.memory.data(), material.correction + out.words.size_bytes(), out.memory.size(),
               cudaMemcpyHostToDevice, stream);
    return out.memory;
  }
  const std::uint64_t index = converted ? material.correction_stream : material.mask_stream;
  run_stream(work_, {material.seed, material.prg, index, 0}, StreamUse::kFill,
             whole(out.words.data(), out.words.size_bytes()), stream);
  draw_digits({material.seed, material.prg, securenn::digit_stream(material.correction_stream)},
              out.memory, ref);
  return out.memory;
}

void SecurennOps::read_correction(const Material& material, Words out, StreamRef ref) {
  const cudaStream_t stream = work_.enter(ref);
  if (material.correction != nullptr) {
    work_.copy(out.data(), material.correction, out.size_bytes(), cudaMemcpyHostToDevice, stream);
    return;
  }
  run_stream(work_, {material.seed, material.prg, material.correction_stream, 0}, StreamUse::kFill,
             whole(out.data(), out.size_bytes()), stream);
}

}  // namespace beaverpond::cuda
