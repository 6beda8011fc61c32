// One player's part of one bundle of correlated randomness.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "beaverpond/seed.h"

namespace beaverpond {

/// A one-time pad: a seed, and on the designated player the correction. Move-only; the engine takes
/// it by value and it is gone: what was moved from is empty, and no engine accepts it. Only a lease
/// makes one (online/session).
class Bundle {
 public:
  Bundle() = default;
  /// `correction` is empty on every player but the designated one. `owner` keeps its bytes alive.
  Bundle(std::uint64_t number, int designated, const Seed& seed,
         std::span<const std::uint8_t> correction, std::shared_ptr<const void> owner)
      : number_(number),
        designated_(designated),
        seed_(seed),
        correction_(correction),
        owner_(std::move(owner)) {}
  Bundle(Bundle&& other) noexcept { *this = std::move(other); }
  Bundle& operator=(Bundle&& other) noexcept {
    if (this == &other) return *this;
    number_ = std::exchange(other.number_, 0);
    designated_ = std::exchange(other.designated_, kNobody);
    seed_ = std::move(other.seed_);
    correction_ = std::exchange(other.correction_, {});
    owner_ = std::move(other.owner_);
    return *this;
  }
  Bundle(const Bundle&) = delete;             // a copy could be spent twice
  Bundle& operator=(const Bundle&) = delete;  // a copy could be spent twice

  /// Nothing to spend: made by the default constructor, or moved from.
  bool empty() const { return designated_ == kNobody; }
  std::uint64_t number() const { return number_; }
  /// The player that adds public constants and holds the correction.
  int designated() const { return designated_; }
  const Seed& seed() const { return seed_; }
  std::span<const std::uint8_t> correction() const { return correction_; }

 private:
  static constexpr int kNobody = -1;

  std::uint64_t number_ = 0;
  int designated_ = kNobody;
  Seed seed_;
  std::span<const std::uint8_t> correction_;
  std::shared_ptr<const void> owner_;
};

/// Who holds shares of what a bundle masks.
enum class Scheme : std::uint32_t {
  kAllPlayers = 1,
  kFirstTwo = 2,  ///< players 0 and 1; player 2 assists, and has a seed of its own
};

inline int share_holders(Scheme scheme, int players) {
  return scheme == Scheme::kFirstTwo ? 2 : players;
}

/// Which player holds the correction of bundle `number`: it rotates among those who hold shares,
/// so that pools fill evenly.
inline int designated_player(std::uint64_t number, int players,
                             Scheme scheme = Scheme::kAllPlayers) {
  const auto holders = static_cast<std::uint64_t>(share_holders(scheme, players));
  return static_cast<int>(number % holders);
}

}  // namespace beaverpond
