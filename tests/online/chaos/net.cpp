#include "tests/online/chaos/net.h"

#include <algorithm>
#include <cstring>

namespace beaverpond::testing {
namespace {

constexpr SimTime kLatency = 1;

Error error_of(ErrorCode code, int player, const std::string& what) {
  Error error = make_error(code, "player " + std::to_string(player) + " " + what);
  error.player = player;
  return error;
}

Error killed() {
  return make_error(ErrorCode::kCancelled, "this process was killed");
}

/// A deadline of the system's clock as one of the simulation's. Whole seconds, so that how fast
/// this machine is decides nothing.
SimTime budget(Deadline deadline) {
  const auto left = deadline - std::chrono::steady_clock::now();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
  return ms <= 0 ? 0 : (ms + 999) / 1000 * 1000;
}

std::span<const std::uint8_t> bytes_of(std::span<const std::uint64_t> words) {
  return {reinterpret_cast<const std::uint8_t*>(words.data()), words.size_bytes()};
}

}  // namespace

std::string describe(const FaultEvent& e) {
  static const char* const kNames[kFaults] = {"delay",     "drop",  "corrupt", "forge",
                                              "partition", "reset", "freeze",  "kill"};
  return std::string(kNames[static_cast<int>(e.fault)]) + " of " + std::to_string(e.player) +
         " (and " + std::to_string(e.other) + ") at message " + std::to_string(e.at) + " for " +
         std::to_string(e.time) + " ms";
}

ChaosNet::ChaosNet(Fibers& fibers, int players, std::vector<FaultEvent> plan)
    : fibers_(fibers), players_(static_cast<std::size_t>(players)), plan_(std::move(plan)) {
  fibers_.on_idle([this] { return advance(); });
}

bool ChaosNet::advance() {
  timers_.erase(timers_.begin(), timers_.upper_bound(now_));
  if (timers_.empty()) {
    stuck_ = true;
    return false;
  }
  now_ = *timers_.begin();
  return true;
}

bool ChaosNet::wait_until(SimTime until, const std::function<bool()>& ready) {
  wake_at(until);
  fibers_.wait([this, until, &ready] { return ready() || now_ >= until; });
  return ready();
}

std::optional<SimTime> ChaosNet::comes_back(int player) const {
  const Player& one = players_[index(player)];
  if (one.back_at < 0) return std::nullopt;
  return one.back_at;
}

void ChaosNet::start_again(int player) {
  players_[index(player)].dead = false;
}

/// A player that stands still gets on when the plan says so.
void ChaosNet::freeze(int player) {
  const Player& one = players_[index(player)];
  if (one.frozen_until > now_) wait_until(one.frozen_until, [] { return false; });
}

std::optional<SimTime> ChaosNet::silent_since(int player, int peer) const {
  std::optional<SimTime> since;
  const auto earlier = [&](SimTime from, SimTime until) {
    if (until > now_ && (!since.has_value() || from < *since)) since = from;
  };
  earlier(players_[index(peer)].frozen_since, players_[index(peer)].frozen_until);
  earlier(players_[index(peer)].alone_since, players_[index(peer)].alone_until);
  earlier(players_[index(player)].alone_since, players_[index(player)].alone_until);
  return since;
}

void ChaosNet::begin(const FaultEvent& event) {
  Player& player = players_[index(event.player)];
  ++happened_;
  last_fault_ = std::max(last_fault_, now_ + std::max<SimTime>(event.time, 0));
  if (event.time > 0) wake_at(now_ + event.time);
  switch (event.fault) {
    case Fault::kPartition:
      player.alone_since = now_;
      player.alone_until = now_ + event.time;
      break;
    case Fault::kFreeze:
      player.frozen_since = now_;
      player.frozen_until = now_ + event.time;
      break;
    case Fault::kKill:
      player.dead = true;
      player.present = false;
      player.back_at = event.time < 0 ? -1 : now_ + event.time;
      if (const auto at = sessions_.find(player.generation); at != sessions_.end()) {
        at->second->closed[index(event.player)] = true;
      }
      break;
    case Fault::kReset:
      if (const auto at = sessions_.find(player.generation); at != sessions_.end()) {
        at->second->reset[index(event.player)].insert(event.other);
        at->second->reset[index(event.other)].insert(event.player);
      }
      break;
    default: armed_.push_back(event);
  }
}

void ChaosNet::tick_faults(int from, int to, Message& message) {
  ++sent_;
  while (next_event_ < plan_.size() && plan_[next_event_].at <= sent_) begin(plan_[next_event_++]);
  for (auto at = armed_.begin(); at != armed_.end(); ++at) {
    if (at->player != from || at->other != to) continue;
    if (at->fault == Fault::kDelay) message.arrives += at->time;
    if (at->fault == Fault::kDrop) message.dropped = true;
    if (at->fault == Fault::kCorrupt) message.corrupt = true;
    if (at->fault == Fault::kForge) message.tag.operation ^= 0x100;
    last_fault_ = std::max(last_fault_, now_ + at->time);
    armed_.erase(at);
    return;
  }
}

/// A player's end of one session.
class ChaosTransport final : public Transport {
 public:
  ChaosTransport(ChaosNet& net, int rank, std::shared_ptr<ChaosNet::Session> session)
      : net_(net), rank_(rank), session_(std::move(session)) {}
  ~ChaosTransport() override { session_->closed[ChaosNet::index(rank_)] = true; }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(net_.players_.size()); }
  std::string name() const override { return "chaos"; }
  TransportStats stats() const override { return {}; }

  Operation start_all_reduce(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                             StreamRef) override {
    send_all(bytes_of(words), tag);
    return later([=, this](SimTime until) -> Result<void> {
      std::vector<std::uint64_t> sum(words.begin(), words.end());
      BP_TRY(receive_all(words.size_bytes(), tag, until, [&](int, const auto& bytes) {
        for (std::size_t i = 0; i < sum.size(); ++i) {
          std::uint64_t word = 0;
          std::memcpy(&word, bytes.data() + 8 * i, 8);
          sum[i] = op == ReduceOp::kSum ? sum[i] + word : sum[i] ^ word;
        }
      }));
      std::copy(sum.begin(), sum.end(), words.begin());
      return {};
    });
  }
  Operation start_all_gather(std::span<const std::uint8_t> mine, std::span<std::uint8_t> all,
                             const Tag& tag, StreamRef) override {
    send_all(mine, tag);
    return later([=, this](SimTime until) -> Result<void> {
      const auto place = [&](int from) { return all.begin() + from * std::ptrdiff_t(mine.size()); };
      std::copy(mine.begin(), mine.end(), place(rank_));
      return receive_all(mine.size(), tag, until, [&](int from, const auto& bytes) {
        std::copy(bytes.begin(), bytes.end(), place(from));
      });
    });
  }
  Operation start_broadcast(int root, std::span<std::uint8_t> bytes, const Tag& tag,
                            StreamRef stream) override {
    if (root != rank_) return start_recv(root, bytes, tag, stream);
    send_all(bytes, tag);
    return later([](SimTime) { return Result<void>(); });
  }
  Operation start_send(int to, std::span<const std::uint8_t> bytes, const Tag& tag,
                       StreamRef) override {
    send(to, bytes, tag);
    return later([this](SimTime) { return failure(); });
  }
  Operation start_recv(int from, std::span<std::uint8_t> bytes, const Tag& tag,
                       StreamRef) override {
    return later([=, this](SimTime until) -> Result<void> {
      BP_ASSIGN(const std::vector<std::uint8_t> got, receive(from, bytes.size(), tag, until));
      std::copy(got.begin(), got.end(), bytes.begin());
      return {};
    });
  }
  Result<std::vector<std::vector<std::uint8_t>>> all_gather_messages_blocking(
      std::span<const std::uint8_t> mine, const Tag& tag, Deadline deadline) override {
    std::vector<std::vector<std::uint8_t>> all(static_cast<std::size_t>(size()));
    all[ChaosNet::index(rank_)].assign(mine.begin(), mine.end());
    send_all(mine, tag);
    BP_TRY(receive_all(std::nullopt, tag, net_.now() + budget(deadline),
                       [&](int from, auto& bytes) { all[ChaosNet::index(from)] = bytes; }));
    return all;
  }

 private:
  class Later final : public Operation::Pending {
   public:
    Later(ChaosNet& net, std::function<Result<void>(SimTime)> work)
        : net_(net), work_(std::move(work)) {}
    Result<void> wait(Deadline deadline) override { return work_(net_.now() + budget(deadline)); }

   private:
    ChaosNet& net_;
    std::function<Result<void>(SimTime)> work_;
  };
  Operation later(std::function<Result<void>(SimTime)> work) {
    return Operation(std::make_unique<Later>(net_, std::move(work)));
  }

  /// The first failure is final, and the others are told who was lost.
  Result<void> failure() {
    if (!net_.alive(rank_)) return killed();
    const std::optional<int>& lost = session_->lost[ChaosNet::index(rank_)];
    if (lost.has_value()) return error_of(ErrorCode::kPeerLost, *lost, "was lost");
    return {};
  }
  Error lose(int peer) {
    for (std::optional<int>& one : session_->lost) {
      if (!one.has_value()) one = &one == &session_->lost[ChaosNet::index(peer)] ? rank_ : peer;
    }
    return failure().error();
  }

  void send_all(std::span<const std::uint8_t> bytes, const Tag& tag) {
    for (int peer = 0; peer < size(); ++peer) {
      if (peer != rank_) send(peer, bytes, tag);
    }
  }
  void send(int to, std::span<const std::uint8_t> bytes, const Tag& tag) {
    net_.freeze(rank_);
    if (!failure().ok()) return;
    if (net_.on_sent) net_.on_sent(rank_, tag, bytes);
    ChaosNet::Message message{tag, {bytes.begin(), bytes.end()}, net_.now() + kLatency};
    net_.tick_faults(rank_, to, message);
    if (!net_.alive(rank_)) return;
    // In order within a lane; lanes overtake each other.
    auto& channel = session_->channels[{rank_, to, tag.lane}];
    if (!channel.empty()) message.arrives = std::max(message.arrives, channel.back().arrives);
    net_.wake_at(message.arrives);
    channel.push_back(std::move(message));
    if (net_.fibers_.random() % 8 == 0) net_.fibers_.yield();
  }

  template <class Take>
  Result<void> receive_all(std::optional<std::size_t> size_bytes, const Tag& tag, SimTime until,
                           Take&& take) {
    for (int peer = 0; peer < size(); ++peer) {
      if (peer == rank_) continue;
      BP_ASSIGN(std::vector<std::uint8_t> bytes, receive(peer, size_bytes, tag, until));
      take(peer, bytes);
    }
    return {};
  }

  Result<std::vector<std::uint8_t>> receive(int from, std::optional<std::size_t> size_bytes,
                                            const Tag& tag, SimTime until) {
    net_.freeze(rank_);
    auto& channel = session_->channels[{from, rank_, tag.lane}];
    const auto silent = [&] {
      const std::optional<SimTime> since = net_.silent_since(rank_, from);
      if (since.has_value()) net_.wake_at(*since + ChaosNet::kPeerTimeout);
      return since.has_value() && net_.now() >= *since + ChaosNet::kPeerTimeout;
    };
    const auto cut = [&] { return net_.silent_since(rank_, from).has_value(); };
    const auto here = [&] {
      return !channel.empty() && !channel.front().dropped && !cut() &&
             channel.front().arrives <= net_.now();
    };
    const auto ended = [&] {
      return session_->closed[ChaosNet::index(from)] ||
             session_->reset[ChaosNet::index(rank_)].count(from) != 0;
    };
    net_.wait_until(until, [&] { return !failure().ok() || here() || ended() || silent(); });
    net_.freeze(rank_);
    BP_TRY(failure());
    if (!here()) {
      if (ended() || silent()) return lose(from);
      return error_of(ErrorCode::kTimeout, from, "is late");
    }
    ChaosNet::Message message = std::move(channel.front());
    channel.pop_front();
    if (message.corrupt) return lose(from);
    if (message.tag == tag && (!size_bytes.has_value() || message.bytes.size() == *size_bytes)) {
      return std::move(message.bytes);
    }
    return error_of(ErrorCode::kProtocolMismatch, from, "sent something else");
  }

  ChaosNet& net_;
  const int rank_;
  std::shared_ptr<ChaosNet::Session> session_;
};

Result<std::unique_ptr<Transport>> ChaosNet::connect(int player, SimTime until) {
  freeze(player);
  Player& self = players_[index(player)];
  if (self.dead) return killed();
  self.present = true;
  const std::uint64_t before = generation_;
  const auto all_here = [&] {
    return std::all_of(players_.begin(), players_.end(), [this](const Player& one) {
      return one.present && one.frozen_until <= now_ && one.alone_until <= now_;
    });
  };
  // Whoever sees all first makes the session; the others find themselves in it.
  wait_until(until, [&] { return self.dead || generation_ != before || all_here(); });
  if (self.dead) return killed();
  if (generation_ == before) {
    if (!all_here()) {
      self.present = false;
      return make_error(ErrorCode::kTimeout, "not all players came");
    }
    auto session = std::make_shared<Session>();
    session->closed.resize(players_.size());
    session->lost.resize(players_.size());
    session->reset.resize(players_.size());
    sessions_[++generation_] = std::move(session);
    for (Player& one : players_) {
      one.present = false;
      one.generation = generation_;
    }
  }
  return std::unique_ptr<Transport>(
      std::make_unique<ChaosTransport>(*this, player, sessions_.at(self.generation)));
}

}  // namespace beaverpond::testing
