// The keys of pseudorandom streams in device memory, so that no launch carries one: launch
// parameters are copied to places that nobody wipes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "beaverpond/result.h"
#include "beaverpond/seed.h"
#include "kernels/cuda/memory_pool.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/stream_key.h"

namespace beaverpond::cuda {

/// The latest keys that one stream used. A key is made in page-locked memory, copied in the order
/// of the stream, and stays until kSlots others came or it is wiped: what was given to the stream
/// before reads the key before. Page-locked memory is wiped when a synchronize() found all copies
/// done, and all memory when the ring ends. One thread at a time.
class KeyRing {
 public:
  static constexpr std::size_t kSlots = 16;

  /// Errors: kOutOfMemory, kDeviceFailed.
  static Result<KeyRing> create(MemoryPool& pool, cudaStream_t stream);

  /// Device address of the seed's ChaChaKey or AesKey, for kernels that the stream is given next.
  /// Waits only where the key that was made at its place kSlots keys ago is not copied yet. Errors:
  /// kDeviceFailed; then no key is there.
  Result<const std::uint8_t*> place(MemoryPool& pool, const Seed& seed, PrgKind prg);

  /// All copies are done: nothing of them stays in host memory.
  void wipe_copied();
  /// Every key is made again: what was copied is not known, or not to be kept. Wipes the seeds.
  void forget();
  /// Wipes what lies on the device, in the order of the stream. Follows forget(). Errors:
  /// kDeviceFailed.
  Result<void> wipe_device();

 private:
  /// The seed that a slot's key is made of.
  struct Slot {
    std::optional<Seed> seed;
    PrgKind prg = PrgKind::kChaCha20;
    std::uint64_t last_use = 0;
    std::optional<Event> copied;
  };
  KeyRing(cudaStream_t stream, Buffer device, Buffer staging)
      : stream_(stream), device_(std::move(device)), staging_(std::move(staging)) {}

  cudaStream_t stream_;
  Buffer device_;
  Buffer staging_;
  bool staged_ = false;  ///< since the last wipe_copied
  std::uint64_t uses_ = 0;
  std::array<Slot, kSlots> slots_;
};

}  // namespace beaverpond::cuda
