#include "kernels/cuda/key_ring.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace beaverpond::cuda {
namespace {

/// Looks at every byte, whatever they are.
bool same(const Seed& a, const Seed& b) {
  unsigned differences = 0;
  for (std::size_t i = 0; i < Seed::kSize; ++i) {
    differences |= static_cast<unsigned>(a.bytes()[i] ^ b.bytes()[i]);
  }
  return differences == 0;
}

void make_key(const Seed& seed, PrgKind prg, std::uint8_t* out) {
  explicit_bzero(out, kStreamKeyBytes);  // the key before may be the longer one
  if (prg == PrgKind::kChaCha20) {
    cuda::make_key(seed, *reinterpret_cast<ChaChaKey*>(out));
  } else {
    cuda::make_key(seed, *reinterpret_cast<AesKey*>(out));
  }
}

}  // namespace

Result<KeyRing> KeyRing::create(MemoryPool& pool, cudaStream_t stream) {
  constexpr ByteCount kSize{kSlots * kStreamKeyBytes};
  BP_ASSIGN(Buffer device, pool.allocate_scratch(kSize, stream));
  BP_ASSIGN(Buffer staging, allocate_pinned(kSize));
  return KeyRing(stream, std::move(device), std::move(staging));
}

Result<const std::uint8_t*> KeyRing::place(MemoryPool& pool, const Seed& seed, PrgKind prg) {
  uses_ += 1;
  for (std::size_t i = 0; i < kSlots; ++i) {
    Slot& slot = slots_[i];
    if (slot.seed.has_value() && slot.prg == prg && same(*slot.seed, seed)) {
      slot.last_use = uses_;
      return device_.bytes().data() + i * kStreamKeyBytes;
    }
  }
  const auto oldest =
      std::min_element(slots_.begin(), slots_.end(),
                       [](const Slot& a, const Slot& b) { return a.last_use < b.last_use; });
  const std::uint64_t at = static_cast<std::uint64_t>(oldest - slots_.begin()) * kStreamKeyBytes;
  oldest->seed.reset();
  if (!oldest->copied.has_value()) {
    BP_ASSIGN(oldest->copied, Event::create());
  } else {
    BP_TRY(pool.await_blocking(*oldest->copied));
  }
  staged_ = true;
  make_key(seed, prg, staging_.bytes().data() + at);
  BP_TRY(check(cudaMemcpyAsync(device_.bytes().data() + at, staging_.bytes().data() + at,
                               kStreamKeyBytes, cudaMemcpyHostToDevice, stream_),
               "cannot copy a key"));
  BP_TRY(oldest->copied->record(stream_));
  oldest->seed = seed;
  oldest->prg = prg;
  oldest->last_use = uses_;
  return device_.bytes().data() + at;
}

void KeyRing::wipe_copied() {
  if (std::exchange(staged_, false)) {
    explicit_bzero(staging_.bytes().data(), staging_.bytes().size());
  }
}

void KeyRing::forget() {
  for (Slot& slot : slots_) slot.seed.reset();
}

Result<void> KeyRing::wipe_device() {
  return check(cudaMemsetAsync(device_.bytes().data(), 0, device_.bytes().size(), stream_),
               "cannot wipe keys");
}

}  // namespace beaverpond::cuda
