#include "kernels/cpu/prg.h"

#include <bit>
#include <cstring>

#include "beaverpond/check.h"
#include "kernels/features.h"
#include "kernels/cpu/prg_kernels.h"
#include "kernels/math/aes128.h"

namespace beaverpond {
namespace {

static_assert(std::endian::native == std::endian::little, "streams are little endian in memory");

constexpr std::uint64_t kBlockSize = 64;

bool supports(PrgKind kind, PrgIsa isa) {
  const bool aes = kind == PrgKind::kAes128Ctr;
  switch (isa) {
    case PrgIsa::kAuto:
    case PrgIsa::kPortable: return true;
    case PrgIsa::kAvx2: return cpu_has_avx2() && (!aes || cpu_has_aes());
    case PrgIsa::kAvx512: return cpu_has_avx512() && (!aes || (cpu_has_aes() && cpu_has_vaes()));
  }
  return false;
}

}  // namespace

PrgIsa best_prg_isa(PrgKind kind) {
  if (supports(kind, PrgIsa::kAvx512)) return PrgIsa::kAvx512;
  if (supports(kind, PrgIsa::kAvx2)) return PrgIsa::kAvx2;
  return PrgIsa::kPortable;
}

Prg::Prg(const Seed& seed, PrgKind kind, PrgIsa isa)
    : kind_(kind), isa_(isa == PrgIsa::kAuto ? best_prg_isa(kind) : isa) {
  BP_CHECK(supports(kind, isa_), "this machine lacks the instruction set asked for");
  const std::uint8_t* bytes = seed.bytes().data();
  if (kind_ == PrgKind::kAes128Ctr) {
    math::aes128_expand_key<std::uint32_t>(bytes, round_keys_.data());
    std::memcpy(&seed_lo_, bytes + 16, 8);
    std::memcpy(&seed_hi_, bytes + 24, 8);
  } else {
    std::memcpy(chacha_key_.data(), bytes, 32);
  }
}

Prg::~Prg() {
  explicit_bzero(round_keys_.data(), sizeof(round_keys_));
  explicit_bzero(chacha_key_.data(), sizeof(chacha_key_));
  explicit_bzero(&seed_lo_, sizeof(seed_lo_));
  explicit_bzero(&seed_hi_, sizeof(seed_hi_));
}

void Prg::run(internal::PrgUse use, std::uint64_t stream, std::uint64_t offset_bytes,
              std::uint8_t* data, std::size_t size_bytes) const {
  BP_CHECK(offset_bytes % kBlockSize == 0, "offsets into a stream are multiples of 64 bytes");
  if (size_bytes == 0) return;
  if (kind_ == PrgKind::kAes128Ctr) {
    const internal::AesStart start{round_keys_.data(), seed_lo_ + offset_bytes / 16,
                                   seed_hi_ ^ stream};
    switch (isa_) {
      case PrgIsa::kAvx512: return internal::aes_avx512(start, use, data, size_bytes);
      case PrgIsa::kAvx2: return internal::aes_avx2(start, use, data, size_bytes);
      default: return internal::aes_portable(start, use, data, size_bytes);
    }
  }
  constexpr std::uint64_t kStreamSize = kBlockSize << 32;
  BP_CHECK(offset_bytes < kStreamSize && size_bytes <= kStreamSize - offset_bytes,
           "a chacha20 stream ends after 2^32 blocks");
  const internal::ChaChaStart start{chacha_key_.data(),
                                    static_cast<std::uint32_t>(offset_bytes / kBlockSize), stream};
  switch (isa_) {
    case PrgIsa::kAvx512: return internal::chacha_avx512(start, use, data, size_bytes);
    case PrgIsa::kAvx2: return internal::chacha_avx2(start, use, data, size_bytes);
    default: return internal::chacha_portable(start, use, data, size_bytes);
  }
}

void Prg::fill(std::uint64_t stream, std::uint64_t offset_bytes,
               std::span<std::uint8_t> out) const {
  run(internal::PrgUse::kFill, stream, offset_bytes, out.data(), out.size());
}

void Prg::add(std::uint64_t stream, std::uint64_t offset_bytes,
              std::span<std::uint64_t> words) const {
  run(internal::PrgUse::kAdd, stream, offset_bytes, reinterpret_cast<std::uint8_t*>(words.data()),
      words.size_bytes());
}

void Prg::subtract(std::uint64_t stream, std::uint64_t offset_bytes,
                   std::span<std::uint64_t> words) const {
  run(internal::PrgUse::kSubtract, stream, offset_bytes,
      reinterpret_cast<std::uint8_t*>(words.data()), words.size_bytes());
}

void Prg::exclusive_or(std::uint64_t stream, std::uint64_t offset_bytes,
                       std::span<std::uint64_t> words) const {
  run(internal::PrgUse::kXor, stream, offset_bytes, reinterpret_cast<std::uint8_t*>(words.data()),
      words.size_bytes());
}

}  // namespace beaverpond
