// Players that are threads, each with an engine that lasts: for several runs, series and errors.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "tests/online/protocol/engine_harness.h"

namespace beaverpond::testing {

class PlayerGroup {
 public:
  /// Optional: a player's backend, and a wrapper around its transport.
  struct Seams {
    std::function<std::unique_ptr<Backend>(int rank)> backend;
    std::function<std::unique_ptr<Transport>(int rank, Transport& inner)> transport;
  };

  PlayerGroup(const Program& program, const Plan& plan, int players, const Seams& seams = {},
              std::uint32_t round_timeout_ms = 30000)
      : program_(program), transports_(make_local_transports(players)) {
    for (int rank = 0; rank < players; ++rank) {
      const auto i = static_cast<std::size_t>(rank);
      backends_.push_back(seams.backend ? seams.backend(rank) : test_backend());
      if (seams.transport) wrappers_.push_back(seams.transport(rank, *transports_[i]));
      PairKeys keys;
      for (int peer = 0; peer < players; ++peer) {
        keys.sent.push_back(pair_key(rank, peer));
        keys.received.push_back(pair_key(peer, rank));
      }
      EngineOptions options;
      options.session = 1;
      options.round_timeout_ms = round_timeout_ms;
      Transport& transport = seams.transport ? *wrappers_[i] : *transports_[i];
      engines_.push_back(
          Engine::create(program, plan, *backends_[i], transport, std::move(keys), options)
              .value());
    }
  }

  int players() const { return static_cast<int>(engines_.size()); }
  Engine& engine(int rank) { return *engines_[static_cast<std::size_t>(rank)]; }

  /// Calls f on every player at once; results by rank.
  std::vector<Result<void>> on_all(const std::function<Result<void>(int rank, Engine&)>& f) {
    std::vector<Result<void>> results(engines_.size());
    std::vector<std::thread> threads;
    for (int rank = 0; rank < players(); ++rank) {
      threads.emplace_back(
          [&, rank] { results[static_cast<std::size_t>(rank)] = f(rank, engine(rank)); });
    }
    for (std::thread& thread : threads) thread.join();
    return results;
  }

  /// A run (or, without bundles, the next member) with inputs by slot.
  std::vector<Result<void>> run(std::vector<Bundle>* bundles, const std::vector<WordVector>& inputs,
                                std::uint64_t multiplier = 0) {
    return on_all([&](int rank, Engine& engine) {
      const RunInputs run = inputs_of(rank, inputs, multiplier);
      if (bundles == nullptr) return engine.run_next(run);
      return engine.run(std::move((*bundles)[static_cast<std::size_t>(rank)]), run);
    });
  }

  /// The same, but whoever fails is gone for the others, who need not wait for him to be late.
  std::vector<Result<void>> run_until_lost(std::vector<Bundle>& bundles,
                                           const std::vector<WordVector>& inputs,
                                           std::uint64_t multiplier = 0) {
    return on_all([&](int rank, Engine& engine) {
      const auto i = static_cast<std::size_t>(rank);
      Result<void> done = engine.run(std::move(bundles[i]), inputs_of(rank, inputs, multiplier));
      if (!done.ok()) abandon(*transports_[i]);
      return done;
    });
  }

  RunInputs inputs_of(int rank, const std::vector<WordVector>& inputs,
                      std::uint64_t multiplier = 0) const {
    RunInputs run;
    run.inputs.resize(program_.inputs);
    run.step_multiplier = multiplier;
    for (const Op& op : program_.ops) {
      if (op.code == OpCode::kInput && static_cast<int>(op.owner) == rank) {
        run.inputs[op.slot] = inputs[op.slot];
      }
    }
    return run;
  }

  WordVector revealed(int rank, std::uint32_t slot) {
    const ConstWords words = engine(rank).revealed(slot);
    return {words.begin(), words.end()};
  }

  /// A state, as the sum of all shares.
  WordVector state(std::uint32_t slot) {
    WordVector sum(engine(0).state_share(slot).value().size());
    for (int rank = 0; rank < players(); ++rank) {
      const WordVector share = engine(rank).state_share(slot).value();
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += share[i];
    }
    return sum;
  }

 private:
  static Seed pair_key(int from, int to) {
    std::mt19937_64 random(static_cast<std::uint64_t>(from * 1000 + to));
    return test_seed(random);
  }

  const Program& program_;
  std::vector<std::unique_ptr<Transport>> transports_;
  std::vector<std::unique_ptr<Transport>> wrappers_;
  std::vector<std::unique_ptr<Backend>> backends_;
  std::vector<std::unique_ptr<Engine>> engines_;
};

inline void expect_ok(const std::vector<Result<void>>& results) {
  for (const Result<void>& result : results) EXPECT_TRUE(result.ok()) << result.error().message;
}

inline void expect_error(const std::vector<Result<void>>& results, ErrorCode code) {
  for (const Result<void>& result : results) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, code) << result.error().message;
  }
}

}  // namespace beaverpond::testing
