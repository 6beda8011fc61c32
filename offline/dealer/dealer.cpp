#include "offline/dealer/dealer.h"

#include <algorithm>
#include <chrono>

#include "kernels/securenn_backend.h"
#include "offline/plan/entry_layout.h"

namespace beaverpond {

using Clock = std::chrono::steady_clock;

namespace {

/// Entries are dealt into device memory together up to this many bytes: enough to copy fast.
constexpr std::uint64_t kPieceBytes = std::uint64_t{16} << 20;

std::uint64_t padded_bytes(const PlanEntry& entry) {
  return (entry.correction_size_bytes + 63) / 64 * 64;
}

}  // namespace

struct Dealer::State {
  const Plan* plan = nullptr;
  int players = 0;
  Backend* backend = nullptr;
  std::vector<Buffer> masks;  ///< by entry; empty where the entry is not a mask
  /// On a device: one is dealt into while the other travels to the host.
  Buffer pieces[2];
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
  if (plan.protocol != Protocol::kAdditive && players != 3) {
    return make_error(ErrorCode::kConfig, std::string("a plan of ") + to_string(plan.protocol) +
                                              " is for 3 players, not " + std::to_string(players));
  }
  auto state = std::make_unique<State>();
  state->plan = &plan;
  state->players = players;
  state->backend = &backend;
  std::uint64_t largest = 0;
  for (const PlanEntry& entry : plan.entries) {
    Buffer buffer;
    largest = std::max(largest, padded_bytes(entry));
    if (entry.kind == EntryKind::kMask || entry.kind == EntryKind::kScalarTriple) {
      const std::uint64_t words =
          entry.kind == EntryKind::kMask ? entry.count : triple_mask_words(entry.count);
      BP_ASSIGN(buffer, backend.allocate(bytes_of_words(ElementCount{words})));
    }
    state->masks.push_back(std::move(buffer));
  }
  if (backend.memory() == MemoryKind::kDevice) {
    const std::uint64_t size = std::min(plan.correction_size.value, std::max(largest, kPieceBytes));
    for (Buffer& piece : state->pieces) {
      BP_ASSIGN(piece, backend.allocate(ByteCount{size}));
    }
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

}  // namespace

/// One bundle in the making. Where the backend's memory is the host's, entries are dealt where
/// they belong; else in pieces of device memory, each of which travels while the next is dealt.
struct Dealer::Job {
  const State& state;
  std::span<const Seed> seeds;
  int designated;
  std::span<std::uint8_t> correction;
  StreamRef stream;
  int piece = 0;             ///< in the making
  std::uint64_t filled = 0;  ///< its bytes so far
  /// Where they belong: offset in the correction, size.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> places = {};

  const Plan& plan() const { return *state.plan; }
  Backend& backend() const { return *state.backend; }
  /// Of those who hold shares.
  std::span<const Seed> holders() const {
    const auto count = share_holders(scheme_of(plan().protocol), state.players);
    return seeds.first(static_cast<std::size_t>(count));
  }

  void mask(std::uint32_t index, std::uint32_t member) const {
    const Words words = state.masks[index].words();
    const std::uint64_t mask_stream = plan().mask_stream(index, member);
    const std::span<const Seed> from = holders();
    backend().prg_fill(from.front(), plan().prg, mask_stream, 0, bytes_of(words), stream);
    for (const Seed& seed : from.subspan(1)) {
      backend().prg_add(seed, plan().prg, mask_stream, words, stream);
    }
  }

  void product(std::uint32_t index, std::uint32_t member, std::span<std::uint8_t> target) const {
    const PlanEntry& entry = plan().entries[index];
    const Words out(reinterpret_cast<std::uint64_t*>(target.data()), target.size() / 8);
    multiply_masks(backend(), entry, state.masks[entry.mask_x].words(),
                   state.masks[entry.mask_y].words(), out, stream);
    subtract_others(index, member, out);
  }

  void subtract_others(std::uint32_t index, std::uint32_t member, Words out) const {
    for (std::size_t player = 0; player < holders().size(); ++player) {
      if (static_cast<int>(player) == designated) continue;
      backend().prg_subtract(holders()[player], plan().prg, plan().correction_stream(index, member),
                             out, stream);
    }
  }

  void triple(std::uint32_t index, std::uint32_t member, std::span<std::uint8_t> target) const {
    const std::uint64_t count = plan().entries[index].count;
    mask(index, member);
    const Words masks = state.masks[index].words();
    const Words out(reinterpret_cast<std::uint64_t*>(target.data()), count);
    backend().multiply(masks.first(count), masks.last(count), out, false, stream);
    subtract_others(index, member, out);
  }

  void sign(std::uint32_t index, std::uint32_t member, std::span<std::uint8_t> target) const {
    const PlanEntry& entry = plan().entries[index];
    securenn::SignDeal deal;
    deal.kind = entry.kind == EntryKind::kConvertedSign ? securenn::SignKind::kConverted
                                                        : securenn::SignKind::kOpened;
    deal.count = entry.count;
    deal.prg = plan().prg;
    deal.seeds = seeds;
    deal.designated = designated;
    deal.mask_stream = plan().mask_stream(index, member);
    deal.correction_stream = plan().correction_stream(index, member);
    deal.correction = target;
    backend().securenn().deal_sign(deal, stream);
  }

  void lookup(std::uint32_t index, std::uint32_t member, std::span<std::uint8_t> target) const {
    const PlanEntry& entry = plan().entries[index];
    Backend::DealLookup deal;
    deal.table = plan().tables[entry.table];
    deal.count = entry.count;
    deal.prg = plan().prg;
    deal.seeds = holders();
    deal.designated = designated;
    deal.mask_stream = plan().mask_stream(index, member);
    deal.correction_stream = plan().correction_stream(index, member);
    deal.correction = {reinterpret_cast<std::uint64_t*>(target.data()), target.size() / 8};
    backend().deal_lookup(deal, stream);
  }

  void comparison(std::uint32_t index, std::uint32_t member, std::span<std::uint8_t> target) const {
    const PlanEntry& entry = plan().entries[index];
    const CompareLayout layout = compare_layout(entry, plan().profile);
    Backend::DealCompare deal;
    deal.layout = &layout;
    deal.count = entry.count;
    deal.prg = plan().prg;
    deal.seeds = holders();
    deal.designated = designated;
    deal.mask_stream = plan().mask_stream(index, member);
    deal.correction_stream = plan().correction_stream(index, member);
    deal.correction = target;
    CompareLayout forward;
    if (entry.kind == EntryKind::kTruncateTimesBit || entry.kind == EntryKind::kMultiplyBit) {
      forward = compare_layout(plan().entries[entry.forward], plan().profile);
      deal.forward_layout = &forward;
      deal.forward_mask_stream = plan().mask_stream(entry.forward, member);
    }
    backend().deal_compare(deal, stream);
  }

  /// Sends the piece on its way. The other one has arrived when this returns.
  Result<void> finish_piece() {
    BP_TRY(backend().synchronize(stream));
    std::span<std::uint8_t> rest = state.pieces[piece].bytes();
    for (const auto& [offset, size] : places) {
      backend().download(rest.first(size), correction.subspan(offset, size), stream);
      rest = rest.subspan(size);
    }
    places.clear();
    filled = 0;
    piece = 1 - piece;
    return {};
  }

  /// Memory for the bytes [offset, offset + size) of the correction, the backend's.
  Result<std::span<std::uint8_t>> target(std::uint64_t offset, std::uint64_t size) {
    if (backend().memory() == MemoryKind::kHost) return correction.subspan(offset, size);
    if (filled + size > state.pieces[piece].bytes().size()) BP_TRY(finish_piece());
    const std::span<std::uint8_t> bytes = state.pieces[piece].bytes().subspan(filled, size);
    filled += size;
    if (!places.empty() && places.back().first + places.back().second == offset) {
      places.back().second += size;
    } else {
      places.emplace_back(offset, size);
    }
    return bytes;
  }

  Result<void> entry(std::uint32_t index, std::uint32_t member) {
    const PlanEntry& e = plan().entries[index];
    if (e.kind == EntryKind::kMask) {
      mask(index, member);
      return {};
    }
    BP_ASSIGN(const std::span<std::uint8_t> padded,
              target(plan().correction_offset(index, member), padded_bytes(e)));
    const std::span<std::uint8_t> bytes = padded.first(e.correction_size_bytes);
    backend().zero(padded.subspan(e.correction_size_bytes), stream);
    if (is_product(e.kind)) {
      product(index, member, bytes);
    } else if (e.kind == EntryKind::kLookup) {
      lookup(index, member, bytes);
    } else if (e.kind == EntryKind::kScalarTriple) {
      triple(index, member, bytes);
    } else if (e.kind == EntryKind::kConvertedSign || e.kind == EntryKind::kOpenedSign) {
      sign(index, member, bytes);
    } else {
      comparison(index, member, bytes);
    }
    return {};
  }

  /// All of the bundle. When this returns, what was given to the backend is done, well or not:
  /// seeds and correction may go.
  Result<void> entries(std::span<double> entry_seconds) {
    for (std::uint32_t member = 0; member < plan().members; ++member) {
      for (std::uint32_t index = 0; index < plan().entries.size(); ++index) {
        if (member > 0 && plan().entries[index].head) continue;
        if (entry_seconds.empty()) {
          BP_TRY(entry(index, member));
          continue;
        }
        const Clock::time_point start = Clock::now();
        BP_TRY(entry(index, member));
        BP_TRY(backend().synchronize(stream));
        entry_seconds[index] += std::chrono::duration<double>(Clock::now() - start).count();
      }
    }
    if (filled > 0) BP_TRY(finish_piece());
    return backend().synchronize(stream);
  }
};

Result<void> Dealer::deal(std::span<const Seed> seeds, int designated,
                          std::span<std::uint8_t> correction, StreamRef stream,
                          std::span<double> entry_seconds) {
  const Plan& plan = *state_->plan;
  BP_CHECK(static_cast<int>(seeds.size()) == state_->players, "one seed per player");
  BP_CHECK(designated >= 0 && designated < share_holders(scheme_of(plan.protocol), state_->players),
           "the designated player holds shares");
  BP_CHECK(correction.size() == plan.correction_size.value, "the correction has the plan's size");
  BP_CHECK(entry_seconds.empty() || entry_seconds.size() == plan.entries.size(),
           "seconds by entry");
  BP_CHECK(reinterpret_cast<std::uintptr_t>(correction.data()) % 64 == 0, "alignment");
  Job job{*state_, seeds, designated, correction, stream};
  Result<void> dealt = job.entries(entry_seconds);
  state_->backend->forget_keys(stream);
  return dealt;
}

}  // namespace beaverpond
