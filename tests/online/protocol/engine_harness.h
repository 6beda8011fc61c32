// Runs programs among players that are threads, on bundles dealt in memory.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "beaverpond/program_builder.h"
#include "offline/dealer/dealer.h"
#include "offline/plan/plan.h"
#include "online/protocol/engine.h"
#include "online/transport/local.h"
#include "tests/kernels/test_backend.h"
#include "tests/soak.h"

namespace beaverpond::testing {

using WordVector = std::vector<std::uint64_t>;

inline Seed test_seed(std::mt19937_64& random) {
  Seed seed;
  for (std::uint8_t& byte : seed.mutable_bytes()) byte = static_cast<std::uint8_t>(random());
  return seed;
}

/// Hands out bundles of one plan, dealt on demand and kept for all players.
class TestDealer {
 public:
  TestDealer(const Plan& plan, int players, std::uint64_t seed,
             std::unique_ptr<Backend> backend = test_backend())
      : plan_(plan), players_(players), random_(seed), backend_(std::move(backend)) {}

  /// Deals bundle `number`; element i of the result is player i's.
  std::vector<Bundle> deal(std::uint64_t number) {
    std::vector<Seed> seeds;
    for (int i = 0; i < players_; ++i) seeds.push_back(test_seed(random_));
    Result<Buffer> memory = backend_->allocate_host(plan_.correction_size);
    EXPECT_TRUE(memory.ok());
    auto correction = std::make_shared<Buffer>(std::move(memory).value());
    Result<Dealer> dealer = Dealer::create(plan_, players_, *backend_);
    EXPECT_TRUE(dealer.ok());
    const int designated = designated_player(number, players_, scheme_of(plan_.protocol));
    EXPECT_TRUE(dealer->deal(seeds, designated, correction->bytes(), kHostStream).ok());
    if (alter) alter(correction->bytes());
    std::vector<Bundle> bundles;
    for (int i = 0; i < players_; ++i) {
      bundles.emplace_back(number, designated, seeds[static_cast<std::size_t>(i)],
                           i == designated ? correction->bytes() : std::span<std::uint8_t>(),
                           correction);
    }
    return bundles;
  }

  std::function<void(std::span<std::uint8_t>)> alter;  ///< changes dealt material, for mutants

 private:
  const Plan& plan_;
  int players_;
  std::mt19937_64 random_;
  std::unique_ptr<Backend> backend_;
};

struct RunResult {
  std::vector<std::vector<WordVector>> revealed;  ///< by player, then slot
  std::vector<WordVector> states;                 ///< opened states after the run
  EngineStats stats;
  std::vector<std::uint64_t> sent_bytes;  ///< by player, in the run alone
};

/// Which protocol runs, and what makes its engine.
struct Runner {
  Protocol protocol = Protocol::kAdditive;
  Result<std::unique_ptr<Engine>> (*create)(const Program&, const Plan&, Backend&, Transport&,
                                            PairKeys, const EngineOptions&) = &Engine::create;
  /// Player 0's shares of the states, player 1's being the rest; else player 0 has all.
  std::vector<WordVector> first_shares = {};
};

/// Sets a state to `words`, of which player 0 holds `first`.
inline Result<void> set_shares(Engine& engine, int rank, std::uint32_t slot,
                               const WordVector& words, const WordVector& first) {
  WordVector own(words.size(), 0);
  for (std::size_t i = 0; i < own.size() && rank < 2; ++i) {
    own[i] = rank == 0 ? first[i] : words[i] - first[i];
  }
  return engine.set_state_share(slot, own);
}

/// One run of `program` by `players` threads. inputs by slot; states by slot, or empty.
inline RunResult run_program(const Program& program, int players,
                             const std::vector<WordVector>& inputs,
                             const std::vector<WordVector>& states = {},
                             std::uint64_t multiplier = 0, PrgKind prg = PrgKind::kAes128Ctr,
                             std::uint64_t bundle_number = 0,
                             CompareProfile profile = CompareProfile::kLan,
                             const Runner& runner = {}) {
  const Plan plan = make_plan(program, prg, profile, runner.protocol).value();
  TestDealer dealer(plan, players, 17 + bundle_number);
  std::vector<Bundle> bundles = dealer.deal(bundle_number);
  std::vector<std::unique_ptr<Transport>> transports = make_local_transports(players);
  RunResult result;
  result.revealed.resize(static_cast<std::size_t>(players));
  result.sent_bytes.resize(result.revealed.size());
  std::vector<WordVector> opened(states.size());
  std::vector<std::thread> threads;
  for (int i = 0; i < players; ++i) {
    threads.emplace_back([&, i] {
      const auto index = static_cast<std::size_t>(i);
      Transport& transport = *transports[index];
      const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      Result<PairKeys> keys = exchange_pair_keys(transport, Tag{1, 0, 0, 0}, deadline);
      ASSERT_TRUE(keys.ok()) << keys.error().message;
      const std::unique_ptr<Backend> backend = test_backend();
      EngineOptions options;
      options.session = 1;
      options.round_timeout_ms = static_cast<std::uint32_t>(campaign_size(30'000, 600'000));
      Result<std::unique_ptr<Engine>> engine =
          runner.create(program, plan, *backend, transport, std::move(keys).value(), options);
      ASSERT_TRUE(engine.ok()) << engine.error().message;
      for (std::uint32_t s = 0; s < states.size(); ++s) {
        ASSERT_TRUE((runner.first_shares.empty()
                         ? (*engine)->set_public_state(s, states[s])
                         : set_shares(**engine, i, s, states[s], runner.first_shares[s]))
                        .ok());
      }
      RunInputs run;
      run.inputs.resize(program.inputs);
      run.step_multiplier = multiplier;
      for (const Op& op : program.ops) {
        if (op.code == OpCode::kInput && static_cast<int>(op.owner) == i) {
          run.inputs[op.slot] = inputs[op.slot];
        }
      }
      const std::uint64_t sent_before = transport.stats().sent_bytes;
      Result<void> done = (*engine)->run(std::move(bundles[index]), run);
      result.sent_bytes[index] = transport.stats().sent_bytes - sent_before;
      ASSERT_TRUE(done.ok()) << done.error().message;
      for (std::uint32_t slot = 0; slot < program.reveals; ++slot) {
        const ConstWords words = (*engine)->revealed(slot);
        result.revealed[index].emplace_back(words.begin(), words.end());
      }
      for (std::uint32_t s = 0; s < states.size(); ++s) {
        Result<WordVector> state =
            (*engine)->reveal_state(s, ~std::uint64_t{0} >> (64 - players), s);
        ASSERT_TRUE(state.ok()) << state.error().message;
        if (i == 0) opened[s] = std::move(state).value();
      }
      if (i == 0) result.stats = (*engine)->stats();
    });
  }
  for (std::thread& thread : threads) thread.join();
  result.states = std::move(opened);
  return result;
}

/// Random words and the edges of the domain -2^62 <= x < 2^62 (after `margin` is added).
inline WordVector domain_words(std::size_t count, std::uint64_t margin, std::mt19937_64& random) {
  constexpr std::int64_t kLimit = std::int64_t{1} << 62;
  WordVector words(count);
  for (std::size_t i = 0; i < count; ++i) {
    const int bits = static_cast<int>(random() % 63);
    std::int64_t x = static_cast<std::int64_t>(random() >> 1) >> bits;
    if ((random() & 1) != 0) x = -x;
    if (x >= kLimit - static_cast<std::int64_t>(margin) || x < -kLimit) x >>= 2;
    words[i] = static_cast<std::uint64_t>(x);
  }
  const std::int64_t m = static_cast<std::int64_t>(margin);
  const std::int64_t edges[] = {
      0,       1,           -1,         m,          -m, m - 1, -m - 1, -m + 1, kLimit - 1 - m,
      -kLimit, -kLimit + 1, kLimit / 2, -kLimit / 2};
  std::size_t at = 0;
  for (const std::int64_t edge : edges) {
    if (at < count) words[at++] = static_cast<std::uint64_t>(edge);
  }
  return words;
}

}  // namespace beaverpond::testing
