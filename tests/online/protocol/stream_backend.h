// Backends that watch, or alter, which pseudorandom streams of a bundle are used.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/kernels/forwarding_backend.h"

namespace beaverpond::testing {

inline std::string seed_name(const Seed& seed) {
  return {seed.bytes().begin(), seed.bytes().end()};
}

/// A mutant: stream `index` of the seeds in `seeds` becomes stream map(index).
class StreamMapBackend final : public ForwardingBackend {
 public:
  using Map = std::function<std::uint64_t(std::uint64_t)>;
  StreamMapBackend(std::unique_ptr<Backend> inner, const std::set<std::string>& seeds, Map map)
      : ForwardingBackend(std::move(inner)), seeds_(seeds), map_(std::move(map)) {}

  void prg_fill(const Seed& seed, PrgKind prg, std::uint64_t index, std::uint64_t offset,
                std::span<std::uint8_t> out, StreamRef stream) override {
    ForwardingBackend::prg_fill(seed, prg, mapped(seed, index), offset, out, stream);
  }
  void prg_add(const Seed& seed, PrgKind prg, std::uint64_t index, Words words,
               StreamRef stream) override {
    ForwardingBackend::prg_add(seed, prg, mapped(seed, index), words, stream);
  }
  void prg_subtract(const Seed& seed, PrgKind prg, std::uint64_t index, Words words,
                    StreamRef stream) override {
    ForwardingBackend::prg_subtract(seed, prg, mapped(seed, index), words, stream);
  }
  void compare_open(const CompareState& state, ConstWords x, std::uint64_t constant, Words out,
                    StreamRef stream) override {
    ForwardingBackend::compare_open(mapped(state), x, constant, out, stream);
  }
  void compare_leaves(const CompareState& state, Words out, StreamRef stream) override {
    ForwardingBackend::compare_leaves(mapped(state), out, stream);
  }
  void compare_nodes(const CompareState& state, ConstWords leaf, Words out,
                     StreamRef stream) override {
    ForwardingBackend::compare_nodes(mapped(state), leaf, out, stream);
  }
  void compare_root(const CompareState& state, ConstWords root, Words out,
                    StreamRef stream) override {
    ForwardingBackend::compare_root(mapped(state), root, out, stream);
  }
  void compare_finish(const CompareState& state, ConstWords final, ConstWords x,
                      const BitShare& forward, Words out, Words b, StreamRef stream) override {
    ForwardingBackend::compare_finish(mapped(state), final, x, forward, out, b, stream);
  }
  void lookup_open(const Material& material, int bits, ConstWords x, Words out,
                   StreamRef stream) override {
    ForwardingBackend::lookup_open(mapped(material), bits, x, out, stream);
  }
  void lookup_finish(const Material& material, int bits, ConstWords opened, Words out,
                     StreamRef stream) override {
    ForwardingBackend::lookup_finish(mapped(material), bits, opened, out, stream);
  }
  void deal_compare(const DealCompare& deal, StreamRef stream) override {
    DealCompare other = deal;
    other.mask_stream = map_(deal.mask_stream);
    other.correction_stream = map_(deal.correction_stream);
    other.forward_mask_stream = map_(deal.forward_mask_stream);
    ForwardingBackend::deal_compare(other, stream);
  }
  void deal_lookup(const DealLookup& deal, StreamRef stream) override {
    DealLookup other = deal;
    other.mask_stream = map_(deal.mask_stream);
    other.correction_stream = map_(deal.correction_stream);
    ForwardingBackend::deal_lookup(other, stream);
  }

 private:
  std::uint64_t mapped(const Seed& seed, std::uint64_t index) const {
    return seeds_.count(seed_name(seed)) != 0 ? map_(index) : index;
  }
  Material mapped(const Material& material) const {
    Material other = material;
    other.mask_stream = map_(material.mask_stream);
    other.correction_stream = map_(material.correction_stream);
    return other;
  }
  CompareState mapped(const CompareState& state) const {
    CompareState other = state;
    other.material = mapped(state.material);
    return other;
  }

  const std::set<std::string>& seeds_;
  Map map_;
};

/// Bytes of one stream that somebody took for one purpose.
struct Claim {
  std::string seed;
  std::uint64_t stream = 0;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  friend auto operator<=>(const Claim&, const Claim&) = default;
};

/// What was claimed of the seeds in `seeds`, and what was claimed twice or read unclaimed.
struct ClaimBook {
  std::set<std::string> seeds;
  std::set<Claim> claims;
  std::vector<std::string> complaints;

  void claim(const Seed& seed, std::uint64_t stream, std::uint64_t begin, std::uint64_t size,
             const std::string& purpose) {
    if (seeds.count(seed_name(seed)) == 0) return;
    Claim mine{seed_name(seed), stream, begin, begin + size};
    for (auto it = claims.lower_bound({mine.seed, stream, 0, 0});
         it != claims.end() && it->seed == mine.seed && it->stream == stream; ++it) {
      if (it->begin < mine.end && mine.begin < it->end) {
        complaints.push_back("stream " + std::to_string(stream) + " once more for " + purpose);
      }
    }
    // Pieces that follow one another are one claim.
    const auto next = claims.lower_bound(mine);
    if (next != claims.begin()) {
      const Claim before = *std::prev(next);
      if (before.seed == mine.seed && before.stream == stream && before.end == begin &&
          (purpose_[{mine.seed, stream}]) == purpose) {
        claims.erase(before);
        mine.begin = before.begin;
      }
    }
    claims.insert(mine);
    purpose_[{mine.seed, stream}] = purpose;
  }
  /// A later look at what `purpose` has claimed.
  void revisit(const Seed& seed, std::uint64_t stream, const std::string& purpose) {
    const auto it = purpose_.find({seed_name(seed), stream});
    if (it == purpose_.end() || it->second != purpose) {
      complaints.push_back("stream " + std::to_string(stream) + " read for " + purpose);
    }
  }

 private:
  std::map<std::pair<std::string, std::uint64_t>, std::string> purpose_;
};

/// Keeps a ClaimBook. A mask is claimed where it is first used; the rounds of a comparison come
/// back to the streams that its opening claimed, as do the products with an earlier bit.
class RecordingBackend final : public ForwardingBackend {
 public:
  RecordingBackend(std::unique_ptr<Backend> inner, ClaimBook& book)
      : ForwardingBackend(std::move(inner)), book_(book) {}

  void prg_fill(const Seed& seed, PrgKind prg, std::uint64_t index, std::uint64_t offset,
                std::span<std::uint8_t> out, StreamRef stream) override {
    book_.claim(seed, index, offset, out.size(), "words");
    ForwardingBackend::prg_fill(seed, prg, index, offset, out, stream);
  }
  void prg_add(const Seed& seed, PrgKind prg, std::uint64_t index, Words words,
               StreamRef stream) override {
    book_.claim(seed, index, 0, words.size_bytes(), "words");
    ForwardingBackend::prg_add(seed, prg, index, words, stream);
  }
  void prg_subtract(const Seed& seed, PrgKind prg, std::uint64_t index, Words words,
                    StreamRef stream) override {
    book_.claim(seed, index, 0, words.size_bytes(), "words");
    ForwardingBackend::prg_subtract(seed, prg, index, words, stream);
  }

  void compare_open(const CompareState& state, ConstWords x, std::uint64_t constant, Words out,
                    StreamRef stream) override {
    const Material& m = state.material;
    claim_compare(*m.seed, *state.layout, state.first_block, state.count, m.mask_stream,
                  m.designated ? kNone : m.correction_stream, task_name(state));
    ForwardingBackend::compare_open(state, x, constant, out, stream);
  }
  void compare_leaves(const CompareState& state, Words out, StreamRef stream) override {
    revisit(state);
    ForwardingBackend::compare_leaves(state, out, stream);
  }
  void compare_nodes(const CompareState& state, ConstWords leaf, Words out,
                     StreamRef stream) override {
    revisit(state);
    ForwardingBackend::compare_nodes(state, leaf, out, stream);
  }
  void compare_root(const CompareState& state, ConstWords root, Words out,
                    StreamRef stream) override {
    revisit(state);
    ForwardingBackend::compare_root(state, root, out, stream);
  }
  void compare_finish(const CompareState& state, ConstWords final, ConstWords x,
                      const BitShare& forward, Words out, Words b, StreamRef stream) override {
    revisit(state);
    ForwardingBackend::compare_finish(state, final, x, forward, out, b, stream);
  }
  void deal_compare(const DealCompare& deal, StreamRef stream) override {
    for (std::size_t player = 0; player < deal.seeds.size(); ++player) {
      const bool corrected = static_cast<int>(player) == deal.designated;
      claim_compare(deal.seeds[player], *deal.layout, 0, deal.count, deal.mask_stream,
                    corrected ? kNone : deal.correction_stream, "deal of a comparison");
      if (deal.forward_layout == nullptr) continue;
      book_.revisit(deal.seeds[player], deal.forward_mask_stream, "deal of a comparison");
    }
    ForwardingBackend::deal_compare(deal, stream);
  }

  void lookup_open(const Material& m, int bits, ConstWords x, Words out,
                   StreamRef stream) override {
    book_.claim(*m.seed, m.mask_stream, 0, x.size_bytes(), "index");
    ForwardingBackend::lookup_open(m, bits, x, out, stream);
  }
  void lookup_finish(const Material& m, int bits, ConstWords opened, Words out,
                     StreamRef stream) override {
    if (!m.designated) {
      book_.claim(*m.seed, m.correction_stream, 0, out.size_bytes() << bits, "table");
    }
    ForwardingBackend::lookup_finish(m, bits, opened, out, stream);
  }
  void deal_lookup(const DealLookup& deal, StreamRef stream) override {
    for (std::size_t player = 0; player < deal.seeds.size(); ++player) {
      const Seed& seed = deal.seeds[player];
      book_.claim(seed, deal.mask_stream, 0, deal.count * 8, "index");
      if (static_cast<int>(player) == deal.designated) continue;
      book_.claim(seed, deal.correction_stream, 0, deal.correction.size_bytes(), "table");
    }
    ForwardingBackend::deal_lookup(deal, stream);
  }

 private:
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};

  /// The same for all pieces of a comparison, which share its layout.
  static std::string task_name(const CompareState& state) {
    return "comparison " + std::to_string(reinterpret_cast<std::uintptr_t>(state.layout));
  }
  void claim_compare(const Seed& seed, const CompareLayout& layout, std::uint64_t first_block,
                     std::uint64_t count, std::uint64_t mask_stream,
                     std::uint64_t correction_stream, const std::string& purpose) {
    const std::uint64_t blocks = layout.blocks(count);
    const auto claim = [&](std::uint64_t stream, std::uint64_t record_bytes) {
      book_.claim(seed, stream, first_block * record_bytes, blocks * record_bytes, purpose);
    };
    claim(mask_stream, layout.mask_record_bytes());
    if (correction_stream != kNone) claim(correction_stream, layout.correction_record_bytes());
  }
  void revisit(const CompareState& state) {
    const Material& m = state.material;
    book_.revisit(*m.seed, m.mask_stream, task_name(state));
    if (!m.designated) book_.revisit(*m.seed, m.correction_stream, task_name(state));
  }

  ClaimBook& book_;
};

}  // namespace beaverpond::testing
