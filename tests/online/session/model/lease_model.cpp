#include "tests/online/session/model/lease_model.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "online/session/lease_messages.h"
#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {
namespace {

constexpr int kMax = 4;      // players, and sessions
constexpr int kNumbers = 8;  // bundles; each lease takes one
constexpr std::uint8_t kNone = 0xff;

enum Phase : std::uint8_t {
  kIdle,         // no session
  kJoined,       // in a session
  kHello,        // HELLO is sent
  kWritten,      // the new watermark is written, not synced
  kSynced,       // durable
  kDurableSent,  // DURABLE is sent
  kActive,       // holds the lease
};

/// Bytes only, so that states compare and hash as memory.
struct PlayerState {
  Phase phase = kIdle;
  std::uint8_t session = kNone;
  std::uint8_t watermark = 0;
  std::uint8_t witnesses[kMax] = {};
  std::uint8_t first = 0;  // of the lease it agreed to
};

struct SessionState {
  std::uint8_t live = 0;
  std::uint8_t hello_sent = 0;
  std::uint8_t durable_sent = 0;
  std::uint8_t end = 0;               // of what it leases, once anyone has written it; 0 before
  std::uint8_t watermark[kMax] = {};  // as each says in its HELLO
  std::uint8_t witnesses[kMax][kMax] = {};
};

struct State {
  PlayerState players[kMax];
  SessionState sessions[kMax];
  std::uint8_t formed = 0;  // sessions so far
  std::uint8_t rollbacks = 0;
  std::uint8_t opened_in[kNumbers];  // session, or kNone
  State() { std::memset(opened_in, kNone, sizeof opened_in); }
};
static_assert(std::has_unique_object_representations_v<State>);

std::string key_of(const State& state) {
  return {reinterpret_cast<const char*>(&state), sizeof state};
}

class Search {
 public:
  explicit Search(const ModelOptions& options) : options_(options) {}

  ModelResult run(std::uint64_t limit) {
    add(State(), kNone, "");
    while (!todo_.empty() && result_.violation.empty() && result_.states < limit) {
      index_ = todo_.front();
      todo_.pop_front();
      const State state = states_[index_];
      for (int player = 0; player < options_.players; ++player) step(state, player);
      form_sessions(state);
    }
    result_.complete = todo_.empty();
    return result_;
  }

 private:
  struct Origin {
    std::size_t parent;
    std::string action;
  };

  void add(State state, std::size_t parent, std::string action) {
    ++result_.transitions;
    // A session that nobody is in any more is over, whatever was said in it.
    for (int s = 0; s < state.formed; ++s) {
      const bool over = std::none_of(std::begin(state.players), std::end(state.players),
                                     [s](const PlayerState& p) { return p.session == s; });
      if (over) state.sessions[s] = {};
    }
    const auto [at, fresh] = seen_.emplace(key_of(state), states_.size());
    if (!fresh) return;
    todo_.push_back(states_.size());
    states_.push_back(state);
    origins_.push_back({parent, std::move(action)});
    ++result_.states;
  }

  void next(const State& state, int player, const char* action) {
    add(state, index_, "player " + std::to_string(player) + " " + action);
  }

  static std::uint8_t spent_below(const State& state) {
    std::uint8_t below = 0;
    for (int n = 0; n < kNumbers; ++n) {
      if (state.opened_in[n] != kNone) below = static_cast<std::uint8_t>(n + 1);
    }
    // What is being leased may be spent at any moment.
    for (const SessionState& session : state.sessions) below = std::max(below, session.end);
    return below;
  }

  bool knows(const State& state, int player) const {
    return state.players[player].watermark >= spent_below(state);
  }

  void form_sessions(const State& state) {
    if (state.formed >= options_.sessions) return;
    for (unsigned live = 3; live < 1u << options_.players; ++live) {
      if (std::popcount(live) < 2) continue;
      if ((live & 1) == 0 && options_.mutant != ModelMutant::kNoOwner) continue;  // lane 0
      bool idle = true;
      bool somebody_knows = false;
      for (int p = 0; p < options_.players; ++p) {
        if ((live >> p & 1) == 0) continue;
        idle = idle && state.players[p].phase == kIdle;
        somebody_knows = somebody_knows || knows(state, p);
      }
      const bool lax = options_.any_rollback || options_.mutant == ModelMutant::kNobodyRemembers;
      if (!idle || (!somebody_knows && state.rollbacks > 0 && !lax)) continue;
      State to = state;
      SessionState& session = to.sessions[to.formed];
      session.live = static_cast<std::uint8_t>(live);
      for (int p = 0; p < options_.players; ++p) {
        if ((live >> p & 1) == 0) continue;
        to.players[p].phase = kJoined;
        to.players[p].session = to.formed;
        session.watermark[p] = to.players[p].watermark;
        std::copy_n(to.players[p].witnesses, kMax, session.witnesses[p]);
      }
      ++to.formed;
      add(to, index_, "a session of the players " + std::to_string(live) + " (mask) begins");
    }
  }

  /// The product's decision, from what the live players said.
  std::uint8_t decide(const SessionState& session, int player) const {
    std::vector<Hello> hellos;
    for (int p = 0; p < options_.players; ++p) {
      if ((session.live >> p & 1) == 0) continue;
      if (options_.mutant == ModelMutant::kNobodyIsAsked && p != player) continue;
      Hello hello;
      hello.pool = test_identity(p, options_.players);
      hello.live = session.live;
      hello.steps = 1;
      ClassState one{test_key(), 1, session.watermark[p], {}, {{0, kNumbers, test_set_id(1)}}};
      if (options_.mutant != ModelMutant::kNobodyIsAsked) {
        one.witnesses.assign(session.witnesses[p], session.witnesses[p] + options_.players);
      }
      hello.classes.push_back(std::move(one));
      hellos.push_back(std::move(hello));
    }
    const LeaseDecision decision = decide_lease(hellos);
    return decision.empty() ? kNone : static_cast<std::uint8_t>(decision.classes[0].first);
  }

  static void make_durable(State& state, int player) {
    PlayerState& self = state.players[player];
    self.watermark = static_cast<std::uint8_t>(self.first + 1);
    const SessionState& session = state.sessions[self.session];
    for (int p = 0; p < kMax; ++p) {
      if ((session.live >> p & 1) == 0) continue;
      self.witnesses[p] = std::max(self.witnesses[p], session.watermark[p]);
      for (int q = 0; q < kMax; ++q) {
        self.witnesses[q] = std::max(self.witnesses[q], session.witnesses[p][q]);
      }
    }
  }

  static void leave(State& state, int player) {
    PlayerState& self = state.players[player];
    self.phase = kIdle;
    self.session = kNone;
    self.first = 0;
  }

  void step(const State& state, int player) {
    const PlayerState& self = state.players[player];
    if (self.phase == kIdle) return roll_back(state, player);
    const SessionState& session = state.sessions[self.session];
    const auto bit = static_cast<std::uint8_t>(1 << player);
    State to = state;
    PlayerState& mine = to.players[player];
    SessionState& ours = to.sessions[self.session];
    const bool early = options_.mutant == ModelMutant::kSendBeforeSync;
    switch (self.phase) {
      case kIdle: break;
      case kJoined:
        mine.phase = kHello;
        ours.hello_sent |= bit;
        next(to, player, "sends HELLO");
        break;
      case kHello:
        if (session.hello_sent != session.live) break;
        mine.first = decide(session, player);
        if (mine.first == kNone) break;
        mine.phase = kWritten;
        ours.end = static_cast<std::uint8_t>(mine.first + 1);
        if (early) ours.durable_sent |= bit;
        next(to, player, "writes its ledger");
        break;
      case kWritten:
        if (early && session.durable_sent == session.live) {
          open(state, player);  // before its own sync has returned
        }
        mine.phase = kSynced;
        make_durable(to, player);
        next(to, player, "has synced its ledger");
        to = state;
        make_durable(to, player);
        leave(to, player);
        next(to, player, "loses power before its sync, and the write is there");
        break;
      case kSynced:
        mine.phase = kDurableSent;
        ours.durable_sent |= bit;
        next(to, player, "sends DURABLE");
        break;
      case kDurableSent:
        if (session.durable_sent != session.live &&
            options_.mutant != ModelMutant::kDurableIsNotAwaited) {
          break;
        }
        mine.phase = kActive;
        next(to, player, "has the lease");
        break;
      case kActive: open(state, player); break;
    }
    to = state;
    leave(to, player);
    next(to, player, "crashes, or gives up on the others");
  }

  void open(const State& state, int player) {
    State to = state;
    const PlayerState self = to.players[player];
    std::uint8_t& opened = to.opened_in[self.first];
    const bool twice = opened != kNone && opened != self.session;
    opened = self.session;
    leave(to, player);
    ++result_.spending_states;
    next(to, player, "opens its bundle");
    if (!twice || !result_.violation.empty()) return;
    result_.violation = "bundle " + std::to_string(self.first) + " is opened twice:";
    std::vector<std::string> steps{"player " + std::to_string(player) + " opens its bundle"};
    for (std::size_t i = index_; i != kNone && i != 0; i = origins_[i].parent) {
      steps.push_back(origins_[i].action);
    }
    for (auto line = steps.rbegin(); line != steps.rend(); ++line) {
      result_.violation += "\n  " + *line;
    }
  }

  void roll_back(const State& state, int player) {
    if (state.rollbacks >= options_.rollbacks || state.players[player].watermark == 0) return;
    bool somebody_knows = options_.any_rollback;
    for (int p = 0; p < options_.players; ++p) {
      somebody_knows = somebody_knows || (p != player && knows(state, p));
    }
    // If all forget, nobody is left who knows: that is what membership epochs are for.
    if (!somebody_knows) return;
    for (const std::uint8_t back :
         {std::uint8_t{0}, std::uint8_t(state.players[player].watermark - 1)}) {
      State to = state;
      ++to.rollbacks;
      to.players[player].watermark = back;
      std::fill_n(to.players[player].witnesses, kMax, std::uint8_t{0});
      next(to, player, "gets an old disk back");
    }
  }

  ModelOptions options_;
  ModelResult result_;
  std::unordered_map<std::string, std::size_t> seen_;
  std::vector<State> states_;
  std::vector<Origin> origins_;
  std::deque<std::size_t> todo_;
  std::size_t index_ = 0;
};

}  // namespace

ModelResult search_lease_model(const ModelOptions& options, std::uint64_t limit) {
  return Search(options).run(limit);
}

}  // namespace beaverpond::testing
