#include "online/session/resume.h"

#include <algorithm>
#include <cstring>

#include "offline/pool/block.h"

namespace beaverpond {
namespace {

// The table "OFFER" of README.md.
constexpr char kMagic[9] = "BPOFFER1";
constexpr std::size_t kJobAt = 8;
constexpr std::size_t kFreshAt = kJobAt + sizeof(Hash256);
constexpr std::size_t kResumesAt = kFreshAt + sizeof(RunId);
constexpr std::size_t kFailedAt = kResumesAt + 1;
constexpr std::size_t kCountAt = 60;
constexpr std::size_t kHeldAt = 64;
constexpr std::size_t kHeldBytes = 32;
static_assert(kFailedAt < kCountAt && sizeof(RunId) + 16 == kHeldBytes);

Error mismatch(int player, const std::string& what) {
  Error error = make_error(ErrorCode::kCheckpointMismatch, what);
  error.player = player;
  return error;
}

std::string who(std::size_t player) {
  return "player " + std::to_string(player);
}

std::uint64_t last_step(const ResumeOffer& offer) {
  std::uint64_t last = 0;
  for (const CheckpointName& name : offer.held) last = std::max(last, name.step);
  return last;
}

std::string steps_of(const ResumeOffer& offer) {
  if (offer.held.empty()) return "none";
  std::string text;
  for (const CheckpointName& name : offer.held) {
    if (!text.empty()) text += ", ";
    text += std::to_string(name.step);
  }
  return text;
}

/// Why nothing is held by all.
Error nothing_in_common(const std::vector<ResumeOffer>& offers) {
  std::size_t behind = 0;
  std::size_t ahead = 0;
  std::string all;
  for (std::size_t i = 0; i < offers.size(); ++i) {
    if (last_step(offers[i]) < last_step(offers[behind])) behind = i;
    if (last_step(offers[i]) > last_step(offers[ahead])) ahead = i;
    if (offers[i].held.empty()) behind = i;
    all += (i == 0 ? "" : "; ") + who(i) + " holds steps " + steps_of(offers[i]);
  }
  const std::string begin_anew =
      "; restore the folder of its checkpoints, or move those of all players away and begin anew";
  for (std::size_t i = 0; i < offers.size(); ++i) {
    if (!offers[i].held.empty()) continue;
    return mismatch(static_cast<int>(i), "no checkpoint in common: " + who(i) + " holds none (" +
                                             all + ")" + begin_anew);
  }
  for (std::size_t i = 1; i < offers.size(); ++i) {
    if (offers[i].held.front().run == offers[0].held.front().run) continue;
    return mismatch(static_cast<int>(i), "the checkpoints of " + who(i) + " and of " + who(0) +
                                             " belong to different runs" + begin_anew);
  }
  if (last_step(offers[behind]) == last_step(offers[ahead])) {
    return mismatch(static_cast<int>(behind),
                    "the checkpoints of one step come from different sessions, and their shares "
                    "do not belong together (" +
                        all + "): one was put back" + begin_anew);
  }
  return mismatch(static_cast<int>(behind), "no checkpoint in common: " + all + ": the folder of " +
                                                who(behind) + " was put back to an earlier state" +
                                                begin_anew);
}

}  // namespace

Result<ResumeDecision> decide_resume(const std::vector<ResumeOffer>& offers) {
  const ResumeOffer& first = offers.front();
  bool begun = false;
  std::size_t holder = 0;
  for (std::size_t i = 0; i < offers.size(); ++i) {
    if (offers[i].job != first.job) {
      return mismatch(static_cast<int>(i), "the checkpoints of " + who(i) +
                                               " are for another job or roster than those of "
                                               "player 0; give every player the same job");
    }
    if (last_step(offers[i]) == 0) continue;
    begun = true;
    holder = i;
  }
  for (std::size_t i = 0; i < offers.size(); ++i) {
    if (offers[i].failed == 0) continue;
    Error error =
        make_error(ErrorCode::kPeerLost, who(i) + " cannot use its checkpoints (" +
                                             to_string(static_cast<ErrorCode>(offers[i].failed)) +
                                             "); see that player's own message");
    error.player = static_cast<int>(i);
    return error;
  }
  for (std::size_t i = 0; begun && i < offers.size(); ++i) {
    if (offers[i].resumes) continue;
    return mismatch(static_cast<int>(i), who(i) + " begins a new run, but " + who(holder) +
                                             " holds steps " + steps_of(offers[holder]) +
                                             " of one; give every player --resume, or move all "
                                             "checkpoints away");
  }
  ResumeDecision decision;
  for (const CheckpointName& name : first.held) {
    const bool common = std::all_of(offers.begin(), offers.end(), [&](const ResumeOffer& offer) {
      return std::find(offer.held.begin(), offer.held.end(), name) != offer.held.end();
    });
    if (!common || (decision.from.has_value() && decision.from->step >= name.step)) continue;
    decision.run = name.run;
    decision.from = name;
  }
  if (decision.from.has_value()) return decision;
  if (begun) return nothing_in_common(offers);
  static constexpr char kDomain[] = "beaverpond run v1";
  std::vector<std::uint8_t> all(kDomain, kDomain + sizeof kDomain);
  for (const ResumeOffer& offer : offers) {
    all.insert(all.end(), offer.fresh.begin(), offer.fresh.end());
  }
  const Hash256 hash = sha256(all);
  std::copy_n(hash.begin(), decision.run.size(), decision.run.begin());
  return decision;
}

std::vector<std::uint8_t> encode_offer(const ResumeOffer& offer) {
  BP_CHECK(offer.held.size() <= ResumeOffer::kMaxHeld, "a player offers a few checkpoints");
  std::vector<std::uint8_t> out(kHeldAt + kHeldBytes * offer.held.size());
  store_bytes(out, 0, {reinterpret_cast<const std::uint8_t*>(kMagic), 8});
  store_bytes(out, kJobAt, offer.job);
  store_bytes(out, kFreshAt, offer.fresh);
  store_le(out, kResumesAt, offer.resumes ? 1 : 0, 1);
  store_le(out, kFailedAt, offer.failed, 1);
  store_le(out, kCountAt, offer.held.size(), 4);
  std::size_t at = kHeldAt;
  for (const CheckpointName& name : offer.held) {
    store_bytes(out, at, name.run);
    store_le(out, at + sizeof(RunId), name.session, 8);
    store_le(out, at + sizeof(RunId) + 8, name.step, 8);
    at += kHeldBytes;
  }
  return out;
}

Result<ResumeOffer> decode_offer(std::span<const std::uint8_t> bytes) {
  const Error wrong = make_error(ErrorCode::kProtocolMismatch,
                                 "what a player says about its checkpoints has another form; run "
                                 "the same release on all players");
  if (bytes.size() < kHeldAt || std::memcmp(bytes.data(), kMagic, 8) != 0) return wrong;
  const std::uint64_t count = load_le(bytes, kCountAt, 4);
  if (count > ResumeOffer::kMaxHeld || bytes.size() != kHeldAt + kHeldBytes * count) return wrong;
  ResumeOffer offer;
  load_bytes(bytes, kJobAt, offer.job);
  load_bytes(bytes, kFreshAt, offer.fresh);
  offer.resumes = bytes[kResumesAt] == 1;
  offer.failed = bytes[kFailedAt];
  if (bytes[kResumesAt] > 1) return wrong;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = kHeldAt + kHeldBytes * i;
    CheckpointName name;
    load_bytes(bytes, at, name.run);
    name.session = load_le(bytes, at + sizeof(RunId), 8);
    name.step = load_le(bytes, at + sizeof(RunId) + 8, 8);
    offer.held.push_back(name);
  }
  return offer;
}

Result<ResumeDecision> agree_on_resume_blocking(Transport& transport, const Session& session,
                                                std::uint32_t lane, const ResumeOffer& mine,
                                                Deadline deadline) {
  const Tag tag{session.id(), 0, lane, kResumeOperation};
  BP_ASSIGN(const auto messages,
            transport.all_gather_messages_blocking(encode_offer(mine), tag, deadline));
  std::vector<ResumeOffer> offers;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    Result<ResumeOffer> offer = decode_offer(messages[i]);
    if (!offer.ok()) {
      Error error = std::move(offer).error();
      error.player = static_cast<int>(i);
      return error;
    }
    offers.push_back(std::move(offer).value());
  }
  return decide_resume(offers);
}

}  // namespace beaverpond
