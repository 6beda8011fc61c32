// One block for all tensors of a run: what is needed at one time lies apart, and little is wasted.
#include "online/protocol/memory_plan.h"

#include <gtest/gtest.h>

#include "tests/kernels/forwarding_backend.h"
#include "tests/online/protocol/network_programs.h"
#include "tests/online/protocol/player_group.h"

namespace beaverpond::testing {
namespace {

Program training() {
  ModelConfig model{12, 12, 1, {}};
  model.layers = {layer(LayerKind::kConv2d, 0, 4, 3),     layer(LayerKind::kRelu, 0, 0, 0),
                  layer(LayerKind::kMaxPool, 0, 0, 2, 2), layer(LayerKind::kDense, 20, 0, 0),
                  layer(LayerKind::kRelu, 0, 0, 0),       layer(LayerKind::kDense, 10, 0, 0)};
  model.loss = Loss::kSoftmax;
  TrainingProgramOptions options;
  options.parts = {{0, 4}, {1, 4}};
  options.loss_receivers = 1;
  return build_training_program(model, {16, 16}, {3, 5}, options)->program;
}

TEST(MemoryPlan, AChainNeedsOnlyWhatIsNeededAtOneTime) {
  constexpr std::uint32_t kCount = 1024;
  ProgramBuilder b;
  ValueId x = b.input(0, Shape{kCount}, 16);
  for (int i = 0; i < 50; ++i) x = b.add(x, x);
  b.reveal(x, 1);
  const Program program = b.finish().value();
  const MemoryPlan memory = plan_memory(program, make_plan(program, PrgKind::kAes128Ctr).value());
  EXPECT_EQ(memory.apart.value, 51u * kCount * 8);
  EXPECT_EQ(memory.size.value, 2u * kCount * 8);  // an operation's input and its result
  for (std::uint32_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    EXPECT_EQ(memory.first.of_op[i], i + 1);
    if (op.code != OpCode::kAdd) continue;
    EXPECT_NE(memory.values[op.inputs[0]].share.first, memory.values[op.out].share.first);
  }
}

TEST(MemoryPlan, PlacesAreInTheBlockAndAligned) {
  for (const CompareProfile profile : {CompareProfile::kLan, CompareProfile::kWan}) {
    const Program program = training();
    const Plan plan = make_plan(program, PrgKind::kAes128Ctr, profile).value();
    const MemoryPlan memory = plan_memory(program, plan);
    EXPECT_LT(memory.size.value * 2, memory.apart.value);
    const auto check = [&](const MemoryPlace& place) {
      EXPECT_EQ(place.first % 8, 0u);
      EXPECT_LE((place.first + place.words) * 8, memory.size.value);
    };
    for (const MemoryPlan::OfValue& value : memory.values) {
      for (const MemoryPlace& place : {value.share, value.mask, value.opened, value.shifted}) {
        check(place);
      }
    }
    for (const MemoryPlan::OfOp& op : memory.ops) {
      for (const MemoryPlace& place : {op.opened, op.kept, op.delta, op.b}) check(place);
    }
  }
}

/// A block of its own for every value that a series keeps, whichever run it is.
TEST(MemoryPlan, WhatASeriesKeepsLiesWithNothingElse) {
  ModelConfig model{8,
                    8,
                    1,
                    {layer(LayerKind::kDense, 20, 0, 0), layer(LayerKind::kRelu, 0, 0, 0),
                     layer(LayerKind::kDense, 10, 0, 0)}};
  const Program program = series_program(model, {12, 12}, 2);
  const MemoryPlan memory = plan_memory(program, make_plan(program, PrgKind::kAes128Ctr).value());
  const std::vector<bool> fixed = fixed_values(program);
  std::vector<std::pair<MemoryPlace, bool>> places;
  for (ValueId id = 0; id < program.values.size(); ++id) {
    const MemoryPlan::OfValue& value = memory.values[id];
    for (const MemoryPlace& place : {value.share, value.mask, value.opened, value.shifted}) {
      if (place.words > 0) places.emplace_back(place, fixed[id]);
    }
  }
  int kept_of_ops = 0;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const ValueId out = program.ops[i].out;
    const MemoryPlan::OfOp& op = memory.ops[i];
    for (const MemoryPlace& place : {op.opened, op.kept, op.delta, op.b}) {
      const bool kept = out != kNoValue && fixed[out];
      if (place.words == 0) continue;
      places.emplace_back(place, kept);
      kept_of_ops += kept ? 1 : 0;
    }
  }
  int kept = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (!places[i].second) continue;
    ++kept;
    for (std::size_t j = 0; j < places.size(); ++j) {
      const auto& [x, y] = std::pair(places[i].first, places[j].first);
      if (i == j) continue;
      EXPECT_TRUE(x.first + x.words <= y.first || y.first + y.words <= x.first);
    }
  }
  EXPECT_GT(kept, 4);
  EXPECT_GT(kept_of_ops, 1);
}

/// Everything that is written is what its reader expects, although all else in the block changes:
/// between two runs it is filled with other words.
TEST(MemoryPlan, ARunReadsNothingThatAnEarlierOneLeft) {
  const Program program = training();
  const Plan plan = make_plan(program, PrgKind::kAes128Ctr).value();
  /// Fills the block after a run.
  class Soiling final : public ForwardingBackend {
   public:
    Soiling() : ForwardingBackend(make_cpu_backend()) {}
    Result<Buffer> allocate(ByteCount size) override {
      Result<Buffer> made = ForwardingBackend::allocate(size);
      if (made.ok() && made->words().size() > largest.size()) largest = made->words();
      return made;
    }
    Words largest;
  };
  std::vector<WordVector> states[2];
  for (const bool soil : {false, true}) {
    Soiling* backends[2] = {};
    PlayerGroup::Seams seams;
    seams.backend = [&](int rank) {
      auto made = std::make_unique<Soiling>();
      backends[rank] = made.get();
      return made;
    };
    PlayerGroup group(program, plan, 2, seams);
    ASSERT_EQ(backends[0]->largest.size_bytes(), plan_memory(program, plan).size.value);
    TestDealer dealer(plan, 2, 5);
    std::vector<WordVector> inputs(program.inputs);
    for (const Op& op : program.ops) {
      if (op.code != OpCode::kInput) continue;
      inputs[op.slot].resize(program.value(op.out).shape.count(), 900);
    }
    for (std::uint64_t number = 0; number < 3; ++number) {
      std::vector<Bundle> bundles = dealer.deal(number);
      expect_ok(group.run(&bundles, inputs, 7));
      for (Soiling* backend : backends) {
        if (soil) std::fill(backend->largest.begin(), backend->largest.end(), 0x5a5a5a5a5a5a5a5a);
      }
    }
    for (std::uint32_t slot = 0; slot < program.states; ++slot) {
      states[soil ? 1 : 0].push_back(group.state(slot));
    }
  }
  EXPECT_TRUE(states[0] == states[1]);
}

}  // namespace
}  // namespace beaverpond::testing
