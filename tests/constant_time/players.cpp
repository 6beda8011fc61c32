// Whole programs, from the dealer's seeds to what is revealed: seeds, keys and inputs are secret,
// and only what a player sends is declassified, when it is sent. Results against the plaintext
// twin, so that what was looked at is what works.
#include <chrono>
#include <memory>
#include <thread>

#include "beaverpond/program_builder.h"
#include "offline/dealer/dealer.h"
#include "offline/plan/plan.h"
#include "online/nn/blocks.h"
#include "online/nn/twin.h"
#include "online/protocol/engine.h"
#include "online/securenn/engine.h"
#include "online/transport/local.h"
#include "tests/constant_time/marks.h"
#include "tests/online/transport/forwarding_transport.h"

namespace beaverpond {
namespace {

using testing::declassify;
using testing::leaks;
using testing::mark_secret;
using testing::secret_bytes;
using testing::secret_seed;
using testing::secret_seeds;
using testing::WordVector;

/// What leaves a player is no secret any more: a word or a bit under a mask that was used once.
class DeclassifyingTransport final : public testing::ForwardingTransport {
 public:
  using ForwardingTransport::ForwardingTransport;
  Operation start_all_reduce(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                             StreamRef stream) override {
    sent_secret_bytes += secret_bytes(words);
    declassify(words);
    return ForwardingTransport::start_all_reduce(words, op, tag, stream);
  }
  Operation start_send(int to, std::span<const std::uint8_t> bytes, const Tag& tag,
                       StreamRef stream) override {
    sent_secret_bytes += secret_bytes(bytes);
    declassify(bytes);
    return ForwardingTransport::start_send(to, bytes, tag, stream);
  }

  std::size_t sent_secret_bytes = 0;
};

struct Case {
  const char* name;
  Protocol protocol;
  int players;
  PrgKind prg;
  CompareProfile profile;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

struct Task {
  Program program;
  std::vector<WordVector> inputs, states;
  std::vector<std::uint32_t> owners;
};

/// Everything a training step and an inference do, on small shapes: each kind of tuple is dealt.
Task make_task(Protocol protocol) {
  std::mt19937_64 random(5);
  const auto small = [&random](std::size_t count) {
    WordVector words(count);
    for (std::uint64_t& word : words) word = (random() >> 44) - (std::uint64_t{1} << 19);
    return words;
  };
  const Conv2dShape conv{2, 6, 6, 3, 4, 3, 1, 1, 1};
  const Pool2dShape pool{2, 6, 6, 4, 2, 2, 2, 0, 0, true};
  const auto pixels = static_cast<std::uint32_t>(pool.pixels());
  ProgramBuilder b;
  b.set_layer("everything");
  const ValueId weights = b.state(conv.weight_shape(), 16);
  const ValueId images = b.input(1, conv.image_shape(), 16);
  const ValueId gradient = b.input(1, conv.result_shape(), 16);
  const ValueId factor = b.input(0, conv.result_shape(), 16);
  const ValueId pooled = b.input(1, {1, pixels}, 16);
  const ValueId left = b.input(0, {5, 7}, 16), right = b.input(1, {7, 9}, 16);
  const ValueId w = b.truncate(b.shift_left(weights, 4), 4, true);
  const ValueId product = b.conv2d(images, w, conv);
  const ValueAndBit relu = b.relu_truncate(product, 16, true);
  b.reveal(b.multiply(relu.value, factor), 1);
  const ValueId back = b.truncate_times_bit(b.multiply(gradient, factor), relu.bit, 16, true);
  b.update(weights, b.truncate(b.conv2d_grad_weight(images, back, conv), 16, false));
  b.reveal(b.conv2d_grad_input(back, w, conv), 2);
  const MaxTree tree = max_rows(b, b.window(product, pool));
  b.reveal(tree.max, 1);
  b.reveal(max_rows_grad(b, tree, pooled), 1);
  b.reveal(b.relu(b.matmul(left, right)).value, 2);
  std::vector<WordVector> inputs = {small(conv.image_shape().count()),
                                    small(conv.result_shape().count()),
                                    small(conv.result_shape().count()),
                                    small(pixels),
                                    small(35),
                                    small(63)};
  if (protocol == Protocol::kAdditive) {
    const ValueId at = b.input(0, {21}, 0);
    b.reveal(b.lookup(at, small(64), 16), 2);
    WordVector places(21);
    for (std::uint64_t& place : places) place = random() % 64;
    inputs.push_back(places);
  }
  Task task{b.finish().value(), std::move(inputs), {small(conv.weight_shape().count())}, {}};
  task.owners.resize(task.program.inputs);
  for (const Op& op : task.program.ops) {
    if (op.code == OpCode::kInput) task.owners[op.slot] = op.owner;
  }
  return task;
}

/// One bundle, dealt from secret seeds.
std::vector<Bundle> deal(const Plan& plan, int players, std::mt19937_64& random) {
  const std::unique_ptr<Backend> backend = make_cpu_backend();
  const std::vector<Seed> seeds = secret_seeds(static_cast<std::size_t>(players), random);
  auto memory = std::make_shared<Buffer>(backend->allocate(plan.correction_size).value());
  Dealer dealer = Dealer::create(plan, players, *backend).value();
  const int designated = designated_player(0, players, scheme_of(plan.protocol));
  const unsigned before = leaks();
  EXPECT_TRUE(dealer.deal(seeds, designated, memory->bytes(), kHostStream).ok());
  EXPECT_EQ(leaks(), before) << "the dealer: memcheck's report says where";
  EXPECT_GT(secret_bytes(memory->bytes()), memory->bytes().size() / 2);
  std::vector<Bundle> bundles;
  for (int i = 0; i < players; ++i) {
    bundles.emplace_back(0, designated, seeds[static_cast<std::size_t>(i)],
                         i == designated ? memory->bytes() : std::span<std::uint8_t>(), memory);
  }
  return bundles;
}

class ConstantTimePlayers : public ::testing::TestWithParam<Case> {};

TEST_P(ConstantTimePlayers, ShareMultiplyCompareAndOpen) {
  const Case& c = GetParam();
  Task task = make_task(c.protocol);
  std::vector<WordVector> twin_states = task.states;
  const auto expected = run_fixed({task.program, task.inputs, twin_states, 3});
  ASSERT_TRUE(expected.ok()) << expected.error().message;
  for (WordVector& words : task.inputs) mark_secret(std::span(words));

  std::mt19937_64 random(6);
  const Plan plan = make_plan(task.program, c.prg, c.profile, c.protocol).value();
  std::vector<Bundle> bundles = deal(plan, c.players, random);
  const auto players = static_cast<std::size_t>(c.players);
  const std::vector<Seed> keys = secret_seeds(players * players, random);
  const std::vector<std::unique_ptr<Transport>> transports = make_local_transports(c.players);
  std::vector<std::vector<WordVector>> revealed(players);
  const unsigned before = leaks();
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < players; ++rank) {
    threads.emplace_back([&, rank] {
      DeclassifyingTransport transport(*transports[rank]);
      const std::unique_ptr<Backend> backend = make_cpu_backend();
      PairKeys pair;
      for (std::size_t peer = 0; peer < players; ++peer) {
        pair.sent.push_back(keys[rank * players + peer]);
        pair.received.push_back(keys[peer * players + rank]);
      }
      EngineOptions options;
      options.round_timeout_ms = 240000;
      const auto create =
          c.protocol == Protocol::kAdditive ? &Engine::create : &create_securenn_engine;
      auto engine = create(task.program, plan, *backend, transport, std::move(pair), options);
      ASSERT_TRUE(engine.ok()) << engine.error().message;
      ASSERT_TRUE((*engine)->set_public_state(0, task.states[0]).ok());
      RunInputs run;
      run.inputs.resize(task.program.inputs);
      run.step_multiplier = 3;
      for (std::size_t slot = 0; slot < task.inputs.size(); ++slot) {
        if (task.owners[slot] == rank) run.inputs[slot] = task.inputs[slot];
      }
      const Result<void> done = (*engine)->run(std::move(bundles[rank]), run);
      ASSERT_TRUE(done.ok()) << done.error().message;
      EXPECT_GT(transport.sent_secret_bytes, 0u) << "the marks did not reach what is sent";
      for (std::uint32_t slot = 0; slot < task.program.reveals; ++slot) {
        const ConstWords words = (*engine)->revealed(slot);
        // A receiver adds its own share to what it was sent.
        declassify(words);
        revealed[rank].emplace_back(words.begin(), words.end());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(leaks(), before) << "memcheck's report says where";
  for (const Op& op : task.program.ops) {
    if (op.code != OpCode::kReveal) continue;
    for (std::size_t rank = 0; rank < players; ++rank) {
      if (((op.receivers >> rank) & 1) == 0) continue;
      EXPECT_TRUE(revealed[rank][op.slot] == (*expected)[op.slot]) << "reveal " << op.slot;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Protocols, ConstantTimePlayers,
    ::testing::Values(
        Case{"two", Protocol::kAdditive, 2, PrgKind::kAes128Ctr, CompareProfile::kLan},
        Case{"wan", Protocol::kAdditive, 3, PrgKind::kChaCha20, CompareProfile::kWan},
        Case{"securenn", Protocol::kSecurenn, 3, PrgKind::kAes128Ctr, CompareProfile::kLan},
        Case{"fused", Protocol::kSecurennFused, 3, PrgKind::kChaCha20, CompareProfile::kLan}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace beaverpond
