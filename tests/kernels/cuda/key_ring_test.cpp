// A backend keeps keys no longer than it was told to: the process's memory, and what stands in for
// the device's, are searched for them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fake_cuda/control.h"
#include "kernels/cpu/prg.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/math/aes128.h"

namespace beaverpond::cuda {
namespace {

using Pattern = std::array<std::uint8_t, 16>;
constexpr std::uint64_t kWords = 100;

/// The key's seed, whose bytes are nowhere else.
[[gnu::noinline]] Seed secret() {
  Seed seed;
  for (std::size_t i = 0; i < Seed::kSize; ++i) {
    seed.mutable_bytes()[i] = static_cast<std::uint8_t>(200 + 89 * i);
  }
  return seed;
}

/// Of the process. The stand-in's device memory is there for kernels only.
enum class Where { kHost, kDevice };

/// Times that a pattern is in memory, which is given with its bytes flipped.
int times_in_memory(const Pattern& flipped, Where where) {
  const std::string_view wanted = where == Where::kHost ? "rw" : "--";
  std::ifstream maps("/proc/self/maps");
  const int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  EXPECT_GE(memory, 0);
  std::vector<std::uint8_t> chunk(1 << 20);
  int found = 0;
  for (std::string line; std::getline(maps, line);) {
    std::uint64_t begin = 0, end = 0;
    char access[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, access) != 3) continue;
    if (std::string_view(access).substr(0, 2) != wanted || end - begin > 1u << 30) continue;
    for (std::uint64_t at = begin; at < end; at += chunk.size() - flipped.size()) {
      const ssize_t got =
          pread(memory, chunk.data(), std::min(chunk.size(), end - at), static_cast<off_t>(at));
      if (got <= 0) break;
      const std::uint8_t* const last = chunk.data() + got;
      const std::uint8_t* place = chunk.data();
      const auto next = [&] {  // most bytes are none of the pattern's: by memchr
        const void* const first =
            std::memchr(place, flipped[0] ^ 0xff, static_cast<std::size_t>(last - place));
        place = static_cast<const std::uint8_t*>(first);
        return place != nullptr && last - place >= std::ssize(flipped);
      };
      for (; next(); ++place) {
        found += std::equal(flipped.begin(), flipped.end(), place,
                            [](std::uint8_t a, std::uint8_t b) { return (a ^ 0xff) == b; });
      }
      std::ranges::fill(chunk, 0);
    }
  }
  close(memory);
  return found;
}

[[gnu::noinline]] Pattern flipped_last_round_key(const Seed& seed) {
  std::array<std::uint8_t, 176> keys{};
  math::aes128_expand_key<std::uint32_t>(seed.bytes().data(), keys.data());
  Pattern flipped{};
  for (std::size_t i = 0; i < 16; ++i) flipped[i] = keys[160 + i] ^ 0xff;
  explicit_bzero(keys.data(), keys.size());
  return flipped;
}
[[gnu::noinline]] void wipe_stack() {
  std::array<std::uint8_t, 1 << 16> below;
  explicit_bzero(below.data(), below.size());
}

[[gnu::noinline]] Pattern flipped_end_of(const Seed& seed) {
  Pattern flipped{};
  for (std::size_t i = 0; i < 16; ++i) flipped[i] = seed.bytes()[16 + i] ^ 0xff;
  return flipped;
}

/// A backend that has expanded the secret once, into memory of its own.
struct Expander {
  std::unique_ptr<Backend> backend;
  Buffer x;

  Expander() {
    Result<std::unique_ptr<Backend>> made =
        make_cuda_backend(0, {}, {.patience = std::chrono::milliseconds(100)});
    EXPECT_TRUE(made.ok()) << made.error().message;
    backend = std::move(made).value();
    Result<Buffer> memory = backend->allocate(ByteCount{kWords * 8});
    EXPECT_TRUE(memory.ok()) << memory.error().message;
    x = std::move(memory).value();
    expand();
  }
  void expand() const {
    backend->prg_add(secret(), PrgKind::kAes128Ctr, 3, x.words(), kHostStream);
  }
  bool synchronize() const { return backend->synchronize(kHostStream).ok(); }
};

/// Neither launch parameters nor the memory that keys are copied from hold one when the device has
/// done its work: the last round key is what only the device's side needs. And nothing at all holds
/// it, or what it is made of, when the backend was told to forget.
TEST(CudaKeys, NoneStaysInMemory) {
  fake_cuda::reset({.memory_bytes = 1 << 20});
  const Pattern round_key = flipped_last_round_key(secret());
  const Pattern end_of_seed = flipped_end_of(secret());
  wipe_stack();
  const Expander of;
  EXPECT_GE(times_in_memory(round_key, Where::kHost), 1) << "what waits to be copied is not seen";
  ASSERT_TRUE(of.synchronize());
  wipe_stack();  // what the expansion left is not the launch's, and the next call's anyway
  EXPECT_EQ(times_in_memory(round_key, Where::kHost), 0);
  EXPECT_GE(times_in_memory(round_key, Where::kDevice), 1) << "what is on the device is not seen";
  EXPECT_GE(times_in_memory(end_of_seed, Where::kHost), 1) << "what the backend kept is not seen";

  of.backend->forget_keys(kHostStream);
  EXPECT_EQ(times_in_memory(end_of_seed, Where::kHost), 0);
  ASSERT_TRUE(of.synchronize());
  for (const Pattern& flipped : {round_key, end_of_seed}) {
    EXPECT_EQ(times_in_memory(flipped, Where::kHost), 0);
    EXPECT_EQ(times_in_memory(flipped, Where::kDevice), 0);
  }

  of.expand();
  std::vector<std::uint64_t> seen(kWords), expected(kWords);
  of.backend->download(of.x.bytes(), bytes_of(Words(seen)), kHostStream);
  ASSERT_TRUE(of.synchronize());
  for (int i = 0; i < 2; ++i) Prg(secret(), PrgKind::kAes128Ctr).add(3, 0, expected);
  EXPECT_EQ(seen, expected) << "a forgotten key is made again";
}

/// Operations that failed are no reason to keep a key. A device that is gone is not called for it.
TEST(CudaKeys, AreForgottenAfterAFailure) {
  const Pattern round_key = flipped_last_round_key(secret());
  const Pattern end_of_seed = flipped_end_of(secret());
  for (const bool hangs : {false, true}) {
    SCOPED_TRACE(hangs);
    fake_cuda::reset({.memory_bytes = 1 << 20});
    {
      const Expander of;
      if (hangs) {
        fake_cuda::hang_kernel(1);
      } else {
        fake_cuda::fail_call(fake_cuda::Call::kLaunch, 1, cudaErrorLaunchOutOfResources);
      }
      of.backend->add_constant(of.x.words(), 1, of.x.words(), kHostStream);
      EXPECT_FALSE(of.synchronize());
      of.backend->forget_keys(kHostStream);
      wipe_stack();
      EXPECT_EQ(times_in_memory(end_of_seed, Where::kHost), 0);
      EXPECT_EQ(of.synchronize(), !hangs);
      EXPECT_EQ(times_in_memory(round_key, Where::kDevice) == 0, !hangs);
    }
    if (hangs) fake_cuda::let_go();
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  }
}

}  // namespace
}  // namespace beaverpond::cuda
