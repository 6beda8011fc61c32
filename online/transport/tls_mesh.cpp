// The only source that includes Boost.Asio: sockets, timers and the I/O thread. What the bytes mean
// is the business of link.cpp; here it is decided who may connect, when a connection has broken,
// and whether another may take its place.
#include "online/transport/tls_mesh.h"

#include <pthread.h>
#include <sys/random.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <csignal>
#include <utility>  // before Asio: 1.74 uses std::exchange without it

#include "online/transport/tls_mesh_class.h"

namespace beaverpond {

namespace {

constexpr std::chrono::milliseconds kCloseTimeout{2'000};
/// How long a transport that ends keeps messages for a connection that may come back.
constexpr std::chrono::milliseconds kMendAtTheEnd{10'000};
/// An attempt to dial a player again ends then: behind it may lie a network that dropped it.
constexpr std::chrono::milliseconds kRedialLimit{2'000};
/// A connection that held so long was a good one: when it breaks, it is dialled again at once.
constexpr std::chrono::milliseconds kGoodConnection{1'000};
constexpr std::size_t kMaxStrangers = 64;

Error connected_already(int player) {
  return make_error(ErrorCode::kRosterMismatch,
                    "player " + std::to_string(player) +
                        " is connected already; is it running twice from the same home?");
}

}  // namespace

TlsMesh::TlsMesh(TlsOptions options, std::shared_ptr<TlsContext> context)
    : options_(std::move(options)), roll_call_(options_), inbox_(size()) {
  settings_.rank = options_.rank;
  for (const TlsPlayer& player : options_.players) {
    settings_.certificates.push_back(player.certificate);
  }
  settings_.roster_hash = options_.roster_hash;
  settings_.hello = options_.hello;
  settings_.check_hello = options_.check_hello;
  settings_.context = std::move(context);
  settings_.reconnect = options_.reconnect;
  peers_.resize(options_.players.size());
  inbox_.on_flow([this](int from, std::uint32_t lane, bool pause) {
    peer(from).stream->out.post_control(pause ? FrameType::kPause : FrameType::kResume, {}, lane);
    asio::post(io_, [this, from] { pump(from); });
  });
}

// ---- The application's side ----

Result<RollCall::Hellos> TlsMesh::connect_blocking(int descriptor) {
  const Clock::time_point deadline = Clock::now() + options_.connect_timeout;
  if (descriptor >= 0) BP_TRY(door_.open(descriptor));
  if (::getentropy(settings_.incarnation.data(), settings_.incarnation.size()) != 0) {
    return make_error(ErrorCode::kIo, "the system has no random bytes; getrandom(2) is required");
  }
  for (int player = 0; player < rank(); ++player) dialler_.start(player);
  on_tick();
  thread_ = std::thread([this] { run(); });

  return roll_call_.wait_blocking(deadline);
}

TlsMesh::~TlsMesh() {
  if (!thread_.joinable()) return;
  asio::post(io_, [this] { begin_close(); });
  {
    std::unique_lock lock(mutex_);
    const Clock::time_point now = Clock::now();
    changed_.wait_until(lock, now + kCloseTimeout, [&] { return all_closed_; });
    // What was posted is promised to those who may come back for it.
    changed_.wait_until(lock, now + std::min(options_.reconnect, kMendAtTheEnd),
                        [&] { return all_closed_ || !mending_; });
  }
  io_.stop();
  thread_.join();
}

void TlsMesh::post(const std::shared_ptr<Outgoing>& message) {
  const int to = message->to();
  peer(to).stream->out.post(message);
  asio::post(io_, [this, to] { pump(to); });
}

void TlsMesh::tell_lost(const Error& error) {
  asio::post(io_, [this, error] { spread(error); });
}

// ---- The I/O thread ----

void TlsMesh::run() {
  // Signals are for the application's threads.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  try {
    io_.run();
  } catch (const std::exception& problem) {
    Error error = make_error(ErrorCode::kOutOfMemory,
                             std::string("the I/O thread stopped: ") + problem.what());
    inbox_.fail(error);
    roll_call_.fail(error);
    const std::scoped_lock lock(mutex_);
    all_closed_ = true;
    changed_.notify_all();
  }
}

void TlsMesh::pump(int player) {
  if (peer(player).connection != nullptr) peer(player).connection->pump();
}

/// Whoever connects and says nothing holds memory: the oldest of too many such must go.
void TlsMesh::limit_strangers() {
  std::shared_ptr<Connection> oldest;
  std::size_t strangers = 0;
  for (const auto& connection : connections_) {
    if (connection->dialled() >= 0 || connection->link().player() >= 0) continue;
    ++strangers;
    if (oldest == nullptr || connection->started() < oldest->started()) oldest = connection;
  }
  if (strangers >= kMaxStrangers) oldest->close();
}

void TlsMesh::note_attempt(int player, const std::string& why) {
  peer(player).last_attempt = why;
  roll_call_.note_attempt(player, why);
}

void TlsMesh::adopt(tcp::socket socket, int dialled) {
  auto connection =
      std::make_shared<Connection>(*this, std::move(socket), settings_, *this, inbox_, dialled,
                                   dialled >= 0 ? stream_of(dialled) : nullptr);
  connections_.insert(connection);
  connection->start();
}

void TlsMesh::on_tick() {
  const Clock::time_point now = Clock::now();
  // If this whole process stood still (SIGSTOP, a suspended host), silence proves nothing.
  const Clock::duration since = now - last_tick_;
  const bool stood_still = since > options_.peer_timeout / 2;
  last_tick_ = now;
  for (const auto& connection : all_connections()) {
    if (stood_still) connection->forgive_silence();
    look_after(connection, now);
  }
  look_after_breaks(now, stood_still ? since : Clock::duration::zero());
  tick_.expires_after(options_.heartbeat_interval / 2);
  tick_.async_wait([this](const AsioError& error) {
    if (!error) on_tick();
  });
}

void TlsMesh::look_after(const std::shared_ptr<Connection>& connection, Clock::time_point now) {
  if (connection->draining()) {
    if (now >= connection->drain_end()) connection->close();
    return;
  }
  if (!connection->link().was_up()) {
    // Who dials waits to the end of its patience; who is dialled has strangers to get rid of.
    const Clock::duration age = now - connection->started();
    if (connection->dialled() < 0 && age > options_.handshake_timeout) connection->close();
    if (connection->dialled() >= 0 && connection->link().goes_on() && age > options_.peer_timeout) {
      connection->close();
      if (!peer(connection->dialled()).broken.has_value()) return;  // given up
      dialler_.retry(connection->dialled(), "it accepts connections and says nothing",
                     kRedialLimit);
    }
    return;
  }
  connection->fit_send_buffer();
  const int player = connection->link().player();
  if (connection->link().is_up() && now - connection->last_received() > options_.peer_timeout) {
    Error error = make_error(ErrorCode::kPeerLost,
                             place(player) + " has been silent for " +
                                 std::to_string(options_.peer_timeout.count()) +
                                 " ms: its process stands still or the network is down");
    error.player = player;
    connection->drain();
    if (mends(player)) {
      begin_break(player, error.message);
    } else {
      failed(*connection, std::move(error));
    }
    connection->close();
    return;
  }
  if (now - connection->last_sent() >= options_.heartbeat_interval) {
    connection->link().post_sign_of_life();
    connection->pump();
  } else if (connection->link().is_up() && connection->link().stream()->unacknowledged > 0) {
    connection->link().stream()->acknowledge();
    connection->pump();
  }
}

// ---- Connections that break ----

/// Whether a new connection may take the place of one that breaks now.
bool TlsMesh::mends(int player) const {
  const std::shared_ptr<Stream>& stream = peer(player).stream;
  return stream != nullptr && stream->reconnect.count() > 0 && !stream->ended &&
         !inbox_.failure().has_value() && !roll_call_.error().has_value() &&
         !(closing_ && stream->out.all_acknowledged());
}

void TlsMesh::begin_break(int player, const std::string& why) {
  Peer& lost = peer(player);
  if (const auto connection = std::exchange(lost.connection, nullptr); connection != nullptr) {
    connection->link().leave_stream();
    if (!connection->draining()) connection->close();
  }
  const Clock::time_point now = Clock::now();
  if (!lost.broken.has_value()) lost.broken = now;
  lost.why = why;
  lost.last_attempt.clear();
  inbox_.note(player, ", while the connection to it is broken (" + why + ")");
  {
    const std::scoped_lock lock(mutex_);
    mending_ = mending_ || lost.stream->out.owes_messages();
  }
  if (player > rank()) return;  // it dials
  if (now - lost.up_since >= kGoodConnection) {
    dialler_.start(player, kRedialLimit);
  } else {
    dialler_.retry(player, why, kRedialLimit);
  }
}

void TlsMesh::look_after_breaks(Clock::time_point now, Clock::duration stood_still) {
  bool mending = false;
  for (int player = 0; player < size(); ++player) {
    Peer& lost = peer(player);
    if (!lost.broken.has_value()) {
      // What waited for it is on its way now, and has the same time to arrive.
      mending = mending || (lost.mended_at_the_end && mends(player));
      continue;
    }
    *lost.broken += stood_still;
    const std::chrono::milliseconds grace = lost.stream->reconnect;
    const bool wanted = mends(player);
    if (wanted && now - *lost.broken <= grace) {
      mending = mending || lost.stream->out.owes_messages();
      continue;
    }
    lost.broken.reset();
    dialler_.stop(player);
    if (!wanted) continue;
    Error error = make_error(
        ErrorCode::kPeerLost,
        "lost " + place(player) + ": " + lost.why + "; it did not come back within " +
            std::to_string(grace.count()) + " ms" +
            (lost.last_attempt.empty() ? "" : " (last attempt: " + lost.last_attempt + ")"));
    error.player = player;
    on_loss(std::move(error));
  }
  {
    const std::scoped_lock lock(mutex_);
    mending_ = mending;
  }
  check_all_closed();
}

std::shared_ptr<Stream> TlsMesh::stream_of(int player) {
  const std::shared_ptr<Stream>& stream = peer(player).stream;
  return stream != nullptr && stream->reconnect.count() > 0 ? stream : nullptr;
}

/// A process that was started again: of no use to a session that it has not been in.
Error TlsMesh::came_back(int player) {
  Peer& known = peer(player);
  if (!known.broken.has_value() && !roll_call_.over()) return connected_already(player);
  // It waits until this session is over, as it would in front of a closed port.
  Error wait = make_error(ErrorCode::kIo, "is in a session with an earlier process of player " +
                                              std::to_string(player));
  if (!known.broken.has_value()) return wait;
  Error error = make_error(ErrorCode::kPeerLost,
                           "lost " + place(player) + ": " + known.why +
                               "; it was started again, or began another session, and has no "
                               "part in this one");
  error.player = player;
  known.broken.reset();
  dialler_.stop(player);
  on_loss(std::move(error));
  return wait;
}

void TlsMesh::comes_again(int player) {
  for (const auto& connection : all_connections()) {
    if (connection->link().stream() != peer(player).stream) continue;
    connection->link().leave_stream();
    if (!connection->draining()) connection->close();
  }
  peer(player).connection = nullptr;
  if (mends(player)) begin_break(player, "it connects anew");
}

void TlsMesh::goes_on(int player) {
  Peer& mended = peer(player);
  begin_using(player);
  mended.broken.reset();
  mended.mended_at_the_end = closing_;
  dialler_.stop(player);
  inbox_.note(player, {});
}

void TlsMesh::begin_close() {
  closing_ = true;
  if (options_.reconnect.count() == 0) door_.close();
  for (int player = 0; player < rank(); ++player) {
    if (!peer(player).broken.has_value() || !mends(player)) dialler_.stop(player);
  }
  std::string reason;
  if (const std::optional<Error> error = inbox_.failure()) reason = error->message;
  if (const std::optional<Error> error = roll_call_.error()) reason = error->message;
  for (const Peer& known : peers_) {
    if (known.broken.has_value()) known.stream->out.end(reason);
  }
  for (const auto& connection : all_connections()) {
    if (connection->link().in_tls_handshake() && !connection->link().goes_on()) {
      connection->close();
    } else if (!connection->draining()) {
      connection->link().end(reason);
      connection->pump();
    }
  }
  look_after_breaks(Clock::now(), Clock::duration::zero());
}

/// Whoever dials in meanwhile holds up nobody.
void TlsMesh::check_all_closed() {
  if (!closing_) return;
  for (const auto& connection : connections_) {
    if (connection->dialled() >= 0 || connection->link().was_up()) return;
    if (options_.reconnect.count() == 0) return;
  }
  for (const Peer& known : peers_) {
    if (known.broken.has_value()) return;
  }
  const std::scoped_lock lock(mutex_);
  all_closed_ = true;
  changed_.notify_all();
}

// ---- What links and connections report ----

Result<void> TlsMesh::admit(int player) {
  // This attempt to connect is over: who comes for the next one is too early, and no twin.
  if (const std::optional<Error> over = roll_call_.error(); over.has_value()) {
    return make_error(ErrorCode::kPeerLost, "is not ready to connect yet: " + over->message);
  }
  if (!closing_ && peer(player).stream == nullptr) return {};
  return connected_already(player);
}

/// The connection of this player that is up: attempts that failed may still drain.
void TlsMesh::begin_using(int player) {
  Peer& known = peer(player);
  for (const auto& connection : connections_) {
    if (connection->link().player() != player || !connection->link().is_up()) continue;
    known.connection = connection;
    known.stream = connection->link().stream();
    known.up_since = Clock::now();
    connection->fit_send_buffer();
  }
}

Result<void> TlsMesh::up(int player, std::vector<std::uint8_t> hello) {
  // Another connection of this player may have come up since this one was admitted.
  Peer& known = peer(player);
  if (known.stream != nullptr) return connected_already(player);
  begin_using(player);
  // Open, where one may have to come again.
  if (roll_call_.present(player, std::move(hello)) && options_.reconnect.count() == 0) {
    door_.close();
  }
  return {};
}

void TlsMesh::goodbye(int player, std::string reason) {
  if (!reason.empty()) {
    Error error = make_error(ErrorCode::kPeerLost, "player " + std::to_string(player) +
                                                       " closed the connection: " + reason);
    error.player = player;
    roll_call_.fail(std::move(error));
  }
  inbox_.close_peer(player, std::move(reason));
}

void TlsMesh::lost(int reporter, const LostReport& report) {
  const bool about_this = static_cast<int>(report.player) == rank();
  const int culprit = about_this ? reporter : static_cast<int>(report.player);
  Error error = make_error(ErrorCode::kPeerLost,
                           "player " + std::to_string(reporter) + " reports: " + report.reason);
  error.player = culprit;
  inbox_.fail(error);
  roll_call_.fail(std::move(error));
}

void TlsMesh::failed(Connection& connection, Error error) {
  const int player = connection.link().player();
  if (connection.link().was_up()) {
    if (error.code == ErrorCode::kIo && mends(player)) return begin_break(player, error.message);
    if (error.code == ErrorCode::kIo) {
      error.code = ErrorCode::kPeerLost;
      error.message = "lost " + place(player) + ": " + error.message;
    }
    error.player = player;
    return on_loss(std::move(error));
  }
  if (connection.link().goes_on() && connection.dialled() >= 0) {
    if (!mends(player)) return;
    // Whoever cannot prove to be that player may be anybody; who refuses and can, is that player.
    if (connection.link().in_tls_handshake() || error.code == ErrorCode::kIo) {
      return dialler_.retry(player, error.message, kRedialLimit);
    }
    error.message = "lost " + place(player) + ": " + peer(player).why + "; " + error.message;
    error.player = player;
    peer(player).broken.reset();
    return on_loss(std::move(error));
  }
  if (closing_) return;
  if (connection.dialled() >= 0) {
    if (error.code == ErrorCode::kIo) return dialler_.retry(connection.dialled(), error.message);
    error.message = place(connection.dialled()) + ": " + error.message;
    error.player = connection.dialled();
    return roll_call_.fail(std::move(error));
  }
  if (player >= 0 && error.code != ErrorCode::kIo && !connection.link().not_admitted()) {
    return roll_call_.fail(std::move(error));
  }
  roll_call_.note_turned_away((player >= 0 ? place(player) : "a stranger") + ": " + error.message);
}

/// The others are told, since they may wait for this player and would name it in their errors.
void TlsMesh::on_loss(Error error) {
  if (!inbox_.failure().has_value()) spread(error);
  inbox_.fail(error);
  roll_call_.fail(std::move(error));
}

/// Once: whoever hears of it fails, and spreads nothing itself.
void TlsMesh::spread(const Error& error) {
  if (closing_ || std::exchange(told_, true)) return;
  const auto lost_player = static_cast<std::uint32_t>(*error.player);
  const std::vector<std::uint8_t> report = encode(LostReport{lost_player, error.message});
  for (int player = 0; player < size(); ++player) {
    if (peer(player).stream == nullptr) continue;
    peer(player).stream->out.post_control(FrameType::kLost, report);
    pump(player);
  }
}

void TlsMesh::closed(Connection& connection) {
  connections_.erase(connection.shared_from_this());
  check_all_closed();
}

std::unique_ptr<ConnectableMesh> make_tls_mesh(const TlsOptions& options,
                                               std::shared_ptr<TlsContext> context) {
  return std::make_unique<TlsMesh>(options, std::move(context));
}

}  // namespace beaverpond
