#include "offline/dealer/dealer.h"

#include <algorithm>
#include <cstring>

#include "offline/plan/entry_layout.h"

namespace beaverpond {

struct Dealer::State {
  const Plan* plan = nullptr;
  int players = 0;
  Backend* backend = nullptr;
  std::vector<Buffer> masks;  ///< by entry; empty where the entry is not a mask
};

Dealer::Dealer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Dealer::Dealer(Dealer&&) noexcept = default;
Dealer& Dealer::operator=(Dealer&&) noexcept = default;

Dealer::~Dealer() = default;  // the backend wipes the masks

Result<Dealer> Dealer::create(const Plan& plan, int players, Backend& backend) {
  if (players < 2) {
    return make_error(ErrorCode::kConfig,
                      "a dealer needs at least 2 players, not " + std::to_string(players));
  }
  auto state = std::make_unique<State>();
  state->plan = &plan;
  state->players = players;
  state->backend = &backend;
  for (const PlanEntry& entry : plan.entries) {
    Buffer buffer;
    if (entry.kind == EntryKind::kMask) {
      BP_ASSIGN(buffer, backend.allocate(bytes_of_words(ElementCount{entry.count})));
    }
    state->masks.push_back(std::move(buffer));
  }
  return Dealer(std::move(state));
}

namespace {

ConvKind conv_kind(EntryKind kind) {
  switch (kind) {
    case EntryKind::kConv2dGradWeight: return ConvKind::kGradWeight;
    case EntryKind::kConv2dGradInput: return ConvKind::kGradInput;
    default: return ConvKind::kForward;
  }
}

void multiply_masks(Backend& backend, const PlanEntry& entry, ConstWords x, ConstWords y, Words out,
                    StreamRef stream) {
  switch (entry.kind) {
    case EntryKind::kMatMul:
      backend.matmul({entry.m, entry.n, entry.k, entry.transpose_x, entry.transpose_y}, x, y, out,
                     false, stream);
      return;
    case EntryKind::kMultiply: backend.multiply(x, y, out, false, stream); return;
    default: backend.conv2d(conv_kind(entry.kind), entry.conv, x, y, out, false, stream); return;
  }
}

/// The bytes between one entry's end and the next 64-byte boundary.
void clear_padding(const Plan& plan, std::uint32_t index, std::span<std::uint8_t> correction) {
  const PlanEntry& entry = plan.entries[index];
  const std::uint64_t end = entry.correction_offset_bytes + entry.correction_size_bytes;
  const std::uint64_t next = index + 1 < plan.entries.size()
                                 ? plan.entries[index + 1].correction_offset_bytes
                                 : plan.correction_size.value;
  std::memset(correction.data() + end, 0, next - end);
}

}  // namespace

void Dealer::deal(std::span<const Seed> seeds, int designated, std::span<std::uint8_t> correction,
                  StreamRef stream) {
  const Plan& plan = *state_->plan;
  Backend& backend = *state_->backend;
  BP_CHECK(static_cast<int>(seeds.size()) == state_->players, "one seed per player");
  BP_CHECK(designated >= 0 && designated < state_->players, "the designated player exists");
  BP_CHECK(correction.size() == plan.correction_size.value, "the correction has the plan's size");
  BP_CHECK(reinterpret_cast<std::uintptr_t>(correction.data()) % 64 == 0, "alignment");
  for (std::uint32_t index = 0; index < plan.entries.size(); ++index) {
    const PlanEntry& entry = plan.entries[index];
    clear_padding(plan, index, correction);
    const std::span<std::uint8_t> target =
        correction.subspan(entry.correction_offset_bytes, entry.correction_size_bytes);
    if (entry.kind == EntryKind::kMask) {
      const Words mask = state_->masks[index].words();
      std::fill(mask.begin(), mask.end(), 0);
      for (const Seed& seed : seeds) {
        backend.prg_add(seed, plan.prg, Plan::mask_stream(index), mask, stream);
      }
    } else if (is_product(entry.kind)) {
      const Words out(reinterpret_cast<std::uint64_t*>(target.data()), target.size() / 8);
      multiply_masks(backend, entry, state_->masks[entry.mask_x].words(),
                     state_->masks[entry.mask_y].words(), out, stream);
      for (std::size_t player = 0; player < seeds.size(); ++player) {
        if (static_cast<int>(player) == designated) continue;
        backend.prg_subtract(seeds[player], plan.prg, Plan::correction_stream(index), out, stream);
      }
    } else {
      const CompareLayout layout = compare_layout(entry);
      Backend::DealCompare deal;
      deal.layout = &layout;
      deal.count = entry.count;
      deal.prg = plan.prg;
      deal.seeds = seeds;
      deal.designated = designated;
      deal.mask_stream = Plan::mask_stream(index);
      deal.correction_stream = Plan::correction_stream(index);
      deal.correction = target;
      CompareLayout forward;
      if (entry.kind == EntryKind::kTruncateTimesBit || entry.kind == EntryKind::kMultiplyBit) {
        forward = compare_layout(plan.entries[entry.forward]);
        deal.forward_layout = &forward;
        deal.forward_mask_stream = Plan::mask_stream(entry.forward);
      }
      backend.deal_compare(deal, stream);
    }
  }
}

}  // namespace beaverpond
