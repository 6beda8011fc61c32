// The dealer: seeds in, corrections out. Pure; it never learns an input, an opened value or a
// result.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "beaverpond/result.h"
#include "beaverpond/seed.h"
#include "kernels/backend.h"
#include "offline/plan/plan.h"

namespace beaverpond {

/// Computes the corrections of bundles of one plan. Owns its working memory, sized once.
/// One thread at a time.
class Dealer {
 public:
  /// `plan` and `backend` must outlive the dealer. players >= 2. Errors: kConfig, kOutOfMemory,
  /// kDeviceFailed.
  static Result<Dealer> create(const Plan& plan, int players, Backend& backend);
  Dealer(Dealer&&) noexcept;
  Dealer& operator=(Dealer&&) noexcept;
  ~Dealer();

  /// Writes plan.correction_size bytes: the designated player's share of every relation.
  /// `seeds` holds one fresh seed per player; `correction` is host memory, 64-byte aligned, and
  /// best of allocate_host(). Adds the seconds that each entry took to `entry_seconds`, by plan
  /// entry, unless it is empty. Errors: kDeviceFailed, kOutOfMemory; `correction` is then not to be
  /// used.
  Result<void> deal(std::span<const Seed> seeds, int designated, std::span<std::uint8_t> correction,
                    StreamRef stream, std::span<double> entry_seconds = {});

 private:
  struct State;
  struct Job;
  explicit Dealer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace beaverpond
