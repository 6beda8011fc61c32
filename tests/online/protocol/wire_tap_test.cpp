// What somebody sees who reads every byte that the players send: two runs of one job, with inputs A
// and A + 7, from one pool. A mask used twice would show as a constant difference.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "beaverpond/program_builder.h"
#include "offline/dealer/dealer.h"
#include "offline/factory/factory.h"
#include "online/protocol/engine.h"
#include "online/session/lease.h"
#include "online/transport/local.h"
#include "tests/offline/pool/memory_disk.h"
#include "tests/offline/pool/pool_fixture.h"
#include "tests/online/transport/recording_transport.h"

namespace beaverpond::testing {
namespace {

using WordVector = std::vector<std::uint64_t>;

constexpr int kPlayers = 2;
constexpr std::uint32_t kRows = 24;
constexpr std::uint32_t kInner = 16;
constexpr std::uint32_t kColumns = 8;
constexpr std::size_t kRun = 8;  // consecutive words that differ by the same: no accident

Program make_program() {
  ProgramBuilder b;
  const ValueId x = b.input(0, Shape{kRows, kInner}, 16);
  const ValueId w = b.input(1, Shape{kInner, kColumns}, 16);
  b.reveal(b.relu_truncate(b.matmul(x, w), 16, true).value, 3);
  return b.finish().value();
}

WordVector random_words(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  WordVector words(count);
  for (std::uint64_t& word : words) word = (random() >> 40) | 0x800000;
  return words;
}

WordVector words_of(const std::vector<std::uint8_t>& bytes) {
  WordVector words(bytes.size() / 8);
  std::memcpy(words.data(), bytes.data(), words.size() * 8);
  return words;
}

struct Tap {
  std::vector<SentRecord> sent[kPlayers];
  WordVector revealed;
};

/// By operation: what all players' messages of it add up to, or, for bits, XOR to.
std::map<std::uint32_t, WordVector> opened(const Tap& tap, bool bits) {
  std::map<std::uint32_t, WordVector> sums;
  for (const auto& sent : tap.sent) {
    for (const SentRecord& record : sent) {
      if (record.tag.operation >= kNonceOperation) continue;  // control
      const WordVector words = words_of(record.bytes);
      WordVector& sum = sums[record.tag.operation];
      sum.resize(std::max(sum.size(), words.size()));
      for (std::size_t i = 0; i < words.size(); ++i) {
        sum[i] = bits ? sum[i] ^ words[i] : sum[i] + words[i];
      }
    }
  }
  return sums;
}

/// Operations whose openings in the two runs differ by a constant over some stretch of words.
std::set<std::uint32_t> constant_differences(const Tap& one, const Tap& two) {
  std::set<std::uint32_t> constant;
  for (const bool bits : {false, true}) {
    const auto a = opened(one, bits);
    const auto b = opened(two, bits);
    EXPECT_EQ(a.size(), b.size());
    for (const auto& [operation, words] : a) {
      const WordVector& others = b.at(operation);
      EXPECT_EQ(words.size(), others.size());
      std::size_t same = 0;
      std::uint64_t last = 0;
      for (std::size_t i = 0; i < words.size(); ++i) {
        const std::uint64_t difference = bits ? others[i] ^ words[i] : others[i] - words[i];
        same = i > 0 && difference == last ? same + 1 : 1;
        last = difference;
        if (same == kRun) constant.insert(operation);
      }
    }
  }
  return constant;
}

/// Words of a secret that some message holds as they are.
std::size_t plaintext_words(const Tap& tap, const WordVector& secret) {
  // Of 24 bits and more: small numbers are everywhere in headers.
  const std::set<std::uint64_t> words(secret.begin(), secret.end());
  std::size_t found = 0;
  for (const auto& sent : tap.sent) {
    for (const SentRecord& record : sent) {
      for (std::size_t at = 0; at + 8 <= record.bytes.size(); ++at) {
        std::uint64_t word = 0;
        std::memcpy(&word, record.bytes.data() + at, 8);
        found += words.contains(word);
      }
    }
  }
  return found;
}

class WireTap : public ::testing::Test {
 protected:
  WireTap() {
    site_.storage = &disk_;
    site_.players = kPlayers;
    site_.key.plan = plan_hash(plan_);
    site_.make_machines();
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    Dealer dealer = std::move(Dealer::create(plan_, kPlayers, *backend)).value();
    FactoryOptions options;
    options.pools = site_.set_options();
    options.key = site_.key;
    options.correction_size = plan_.correction_size;
    options.dealers = {
        [&dealer](std::span<const Seed> seeds, int designated, std::span<std::uint8_t> correction) {
          return dealer.deal(seeds, designated, correction, kHostStream);
        }};
    auto factory = Factory::open(std::move(options));
    EXPECT_TRUE(factory.ok()) << factory.error().message;
    EXPECT_TRUE(factory->make_blocking(4).ok());
  }

  Tap run(const WordVector& x, const WordVector& w) {
    Tap tap;
    auto transports = make_local_transports(kPlayers);
    std::vector<std::thread> threads;
    for (int player = 0; player < kPlayers; ++player) {
      threads.emplace_back([&, player] {
        SentLog log;
        log.keep_bytes();
        RecordingTransport transport(std::move(transports[static_cast<std::size_t>(player)]), log);
        run_player(player, transport, player == 0 ? x : w, tap);
        tap.sent[player] = log.records();
      });
    }
    for (std::thread& thread : threads) thread.join();
    return tap;
  }

  MemoryDisk disk_;
  TestSite site_;
  const Program program_ = make_program();
  const Plan plan_ = make_plan(program_, PrgKind::kAes128Ctr).value();

 private:
  void run_player(int player, Transport& transport, const WordVector& mine, Tap& tap) {
    const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    auto pool = Pool::open(site_.pool_options(player));
    ASSERT_TRUE(pool.ok()) << pool.error().message;
    auto session = Session::create_blocking(transport, deadline);
    ASSERT_TRUE(session.ok()) << session.error().message;
    LeaseOptions lease_options;
    lease_options.key = site_.key;
    lease_options.max_bundles = 1;
    LeaseAgreement agreement(*pool, transport, *session, lease_options);
    auto lease = agreement.acquire_blocking(0, 1, deadline);
    ASSERT_TRUE(lease.ok()) << lease.error().message;
    auto bundle = lease->next();
    ASSERT_TRUE(bundle.ok()) << bundle.error().message;
    Tag tag;
    tag.session = session->id();
    tag.operation = kPairKeysOperation;
    auto keys = exchange_pair_keys(transport, tag, deadline);
    ASSERT_TRUE(keys.ok()) << keys.error().message;
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    EngineOptions options;
    options.session = session->id();
    auto engine = Engine::create(program_, plan_, *backend, transport, std::move(*keys), options);
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    RunInputs inputs;
    inputs.inputs.resize(program_.inputs);
    inputs.inputs[static_cast<std::size_t>(player)] = mine;
    const auto done = (*engine)->run(std::move(*bundle), inputs);
    ASSERT_TRUE(done.ok()) << done.error().message;
    const ConstWords words = (*engine)->revealed(0);
    if (player == 0) tap.revealed.assign(words.begin(), words.end());
  }
};

const WordVector kA = random_words(kRows * kInner, 1);
const WordVector kW = random_words(kInner * kColumns, 2);

WordVector plus_seven(WordVector words) {
  for (std::uint64_t& word : words) word += 7;
  return words;
}

TEST_F(WireTap, TwoRunsDoNotDifferByAConstantAndShowNoPlaintext) {
  const Tap one = run(kA, kW);
  const Tap two = run(plus_seven(kA), kW);
  ASSERT_FALSE(one.revealed.empty());
  EXPECT_NE(one.revealed, two.revealed);  // the secrets did matter
  EXPECT_GE(opened(one, false).size(), 3u);
  EXPECT_TRUE(constant_differences(one, two).empty());
  for (const Tap* tap : {&one, &two}) {
    for (const WordVector& secret : {kA, plus_seven(kA), kW}) {
      EXPECT_EQ(plaintext_words(*tap, secret), 0u);
    }
  }
}

TEST_F(WireTap, TheTapSeesABundleThatIsSpentTwice) {
  std::vector<MemoryDisk::Snapshot> before;
  for (int player = 0; player < kPlayers; ++player) {
    before.push_back(disk_.save(site_.machine(player)));
  }
  const Tap one = run(kA, kW);
  for (int player = 0; player < kPlayers; ++player) {
    disk_.restore(site_.machine(player), before[static_cast<std::size_t>(player)]);
  }
  const Tap two = run(plus_seven(kA), kW);
  EXPECT_FALSE(constant_differences(one, two).empty());
}

TEST_F(WireTap, TheTapSeesPlaintext) {
  Tap tap = run(kA, kW);
  SentRecord record;
  record.bytes.resize(11 + 8 * kA.size());
  std::memcpy(record.bytes.data() + 11, kA.data(), 8 * kA.size());
  tap.sent[1].push_back(record);
  EXPECT_EQ(plaintext_words(tap, kA), kA.size());
}

}  // namespace
}  // namespace beaverpond::testing
