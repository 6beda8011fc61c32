#include "online/nn/begin_training.h"

#include <utility>

namespace beaverpond {

Result<TrainCheckpoints> begin_training_blocking(const BeginOptions& options, Transport& transport,
                                                 const Session& session,
                                                 std::optional<CheckpointStore>& store) {
  const auto notify = [&](const std::string& text) {
    if (options.on_notice) options.on_notice(text);
  };
  ResumeOffer offer;
  offer.job = options.job;
  offer.resumes = options.resumes;
  std::optional<Error> mine;
  Result<CheckpointStore> opened = options.open();
  if (!opened.ok()) {
    mine = opened.error();
  } else {
    store.emplace(std::move(opened).value());
    offer.held = store->held();
    if (const std::optional<Error>& damaged = store->damaged(); damaged.has_value()) {
      if (offer.held.empty()) mine = *damaged;
      notify("left out: " + damaged->message);
    }
    if (offer.held.size() > ResumeOffer::kMaxHeld) {
      mine = make_error(ErrorCode::kCheckpointMismatch,
                        store->directory() +
                            " holds more checkpoints than a player keeps; leave "
                            "the latest two");
      offer.held.clear();
    }
  }
  BP_TRY(options.entropy(offer.fresh));
  if (mine.has_value()) offer.failed = static_cast<std::uint8_t>(mine->code);
  const Result<ResumeDecision> decision =
      agree_on_resume_blocking(transport, session, options.lane, offer, options.deadline());
  if (mine.has_value()) return *mine;
  if (!decision.ok()) return decision.error();
  if (decision->from.has_value()) {
    notify("going on after step " + std::to_string(decision->from->step));
  }
  return TrainCheckpoints{&*store, options.every, decision->run, decision->from};
}

}  // namespace beaverpond
