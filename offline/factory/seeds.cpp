#include "offline/factory/seeds.h"

#include <openssl/crypto.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>

#include "offline/pool/block.h"

namespace beaverpond {
namespace {

constexpr std::size_t kEntropySize = 32;

std::uint64_t nanoseconds(auto clock_now) {
  return static_cast<std::uint64_t>(clock_now.time_since_epoch().count());
}

}  // namespace

SeedMaker::SeedMaker(EntropySource entropy) : entropy_(std::move(entropy)) {
  // Only adds to what getrandom gives; a system without the file loses nothing else.
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot_id_;
}

Result<Seed> SeedMaker::draw(const char* purpose, std::span<const std::uint8_t> context) {
  std::vector<std::uint8_t> input(kEntropySize);
  if (auto filled = entropy_(input); !filled.ok()) return std::move(filled).error();
  const auto add = [&input](std::span<const std::uint8_t> bytes) {
    // Length first, so that no two different inputs read the same. Grows by copy: wipe the old.
    std::vector<std::uint8_t> longer(input.size() + 8 + bytes.size());
    store_bytes(longer, 0, input);
    store_le(longer, input.size(), bytes.size(), 8);
    store_bytes(longer, input.size() + 8, bytes);
    OPENSSL_cleanse(input.data(), input.size());
    input = std::move(longer);
  };
  std::array<std::uint8_t, 32> local{};
  store_le(local, 0, nanoseconds(std::chrono::system_clock::now()), 8);
  store_le(local, 8, nanoseconds(std::chrono::steady_clock::now()), 8);
  store_le(local, 16, static_cast<std::uint64_t>(::getpid()), 8);
  store_le(local, 24, counter_++, 8);
  add({reinterpret_cast<const std::uint8_t*>(purpose), std::strlen(purpose)});
  add({reinterpret_cast<const std::uint8_t*>(boot_id_.data()), boot_id_.size()});
  add(local);
  add(context);
  Hash256 hash = sha256(input);
  Seed seed{std::span<const std::uint8_t, Seed::kSize>(hash)};
  OPENSSL_cleanse(hash.data(), hash.size());
  OPENSSL_cleanse(input.data(), input.size());
  return seed;
}

Result<SetId> SeedMaker::make_set_id() {
  BP_ASSIGN(const Seed bytes, draw("beaverpond set id v1", {}));
  SetId id{};
  load_bytes(bytes.bytes(), 0, id);
  return id;
}

Result<Seed> SeedMaker::make_seed(const SetId& set_id, int player) {
  std::array<std::uint8_t, sizeof(SetId) + 4> context{};
  store_bytes(context, 0, set_id);
  store_le(context, sizeof(SetId), static_cast<std::uint64_t>(player), 4);
  return draw("beaverpond seed v1", context);
}

Result<std::vector<std::vector<Seed>>> SeedMaker::make_seeds(const SetId& set_id, int players,
                                                             std::uint64_t bundles) {
  std::vector<std::vector<Seed>> seeds(static_cast<std::size_t>(players));
  for (int player = 0; player < players; ++player) {
    auto& mine = seeds[static_cast<std::size_t>(player)];
    mine.reserve(bundles);  // no reallocation, so no copy is left behind
    for (std::uint64_t i = 0; i < bundles; ++i) {
      BP_ASSIGN(const Seed seed, make_seed(set_id, player));
      mine.push_back(seed);
    }
  }
  return seeds;
}

}  // namespace beaverpond
