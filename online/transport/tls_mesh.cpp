// The only source that includes Boost.Asio: sockets, timers and the I/O thread. What the bytes mean
// is the business of link.cpp.
#include "online/transport/tls_mesh.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <csignal>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>  // before Asio: 1.74 uses std::exchange without it

#include "online/transport/tls_connection.h"

namespace beaverpond {

namespace {

constexpr std::chrono::milliseconds kFirstBackoff{50};
constexpr std::chrono::milliseconds kLastBackoff{1'000};
constexpr std::chrono::milliseconds kCloseTimeout{2'000};
constexpr std::size_t kMaxStrangers = 64;

class TlsMesh final : public ConnectableMesh, public Connection::Owner, public Link::Owner {
 public:
  TlsMesh(TlsOptions options, std::shared_ptr<TlsContext> context);
  ~TlsMesh() override;

  Result<RollCall::Hellos> connect_blocking(int descriptor) override;
  int rank() const override { return options_.rank; }
  int size() const override { return static_cast<int>(options_.players.size()); }
  std::string name() const override { return "tls"; }
  Inbox& inbox() override { return inbox_; }
  void post(const std::shared_ptr<Outgoing>& message) override;
  void tell_lost(const Error& error) override;

 private:
  struct Dial {
    tcp::resolver resolver;
    tcp::socket socket;
    asio::steady_timer retry;
    std::chrono::milliseconds backoff = kFirstBackoff;
  };

  void run();
  void start_accept();
  void start_dial(int player);
  void retry_dial(int player, const std::string& why);
  void adopt(tcp::socket socket, int dialled);
  void limit_strangers();
  void on_tick();
  void look_after(const std::shared_ptr<Connection>& connection, Clock::time_point now);
  void begin_close();
  void on_loss(Error error);
  void spread(const Error& error);
  std::vector<std::shared_ptr<Connection>> all_connections() const {
    return {connections_.begin(), connections_.end()};
  }
  std::string place(int player) const { return describe_player(options_, player); }

  Result<void> admit(int player) override;
  Result<void> up(int player, std::vector<std::uint8_t> hello) override;
  void goodbye(int player, std::string reason) override;
  void lost(int reporter, const LostReport& report) override;
  void failed(Connection& connection, Error error) override;
  void closed(Connection& connection) override;

  const TlsOptions options_;
  LinkSettings settings_;
  RollCall roll_call_;
  Inbox inbox_;
  asio::io_context io_{1};
  tcp::acceptor acceptor_{io_};
  asio::steady_timer accept_pause_{io_};
  asio::steady_timer tick_{io_};
  Clock::time_point last_tick_ = Clock::now();
  std::map<int, Dial> dials_;
  std::set<std::shared_ptr<Connection>> connections_;
  /// By rank; written on the I/O thread while connecting, constant afterwards.
  std::vector<std::shared_ptr<Connection>> peers_;
  bool closing_ = false;
  bool told_ = false;  ///< the others were told of a loss

  std::mutex mutex_;  // guards all_closed_
  std::condition_variable changed_;
  bool all_closed_ = false;
  std::thread thread_;
};

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
  peers_.resize(options_.players.size());
}

// ---- The application's side ----

Result<RollCall::Hellos> TlsMesh::connect_blocking(int descriptor) {
  const Clock::time_point deadline = Clock::now() + options_.connect_timeout;
  if (descriptor >= 0) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length);
    AsioError error;
    acceptor_.assign(address.ss_family == AF_INET6 ? tcp::v6() : tcp::v4(), descriptor, error);
    if (error) {
      ::close(descriptor);
      return make_error(ErrorCode::kIo, "cannot use the listening descriptor " +
                                            std::to_string(descriptor) + ": " + error.message());
    }
    start_accept();
  }
  for (int player = 0; player < rank(); ++player) {
    dials_.emplace(player, Dial{tcp::resolver(io_), tcp::socket(io_), asio::steady_timer(io_)});
    start_dial(player);
  }
  on_tick();
  thread_ = std::thread([this] { run(); });

  return roll_call_.wait_blocking(deadline);
}

TlsMesh::~TlsMesh() {
  if (!thread_.joinable()) return;
  asio::post(io_, [this] { begin_close(); });
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kCloseTimeout, [&] { return all_closed_; });
  }
  io_.stop();
  thread_.join();
}

void TlsMesh::post(const std::shared_ptr<Outgoing>& message) {
  const std::shared_ptr<Connection>& connection = peers_[static_cast<std::size_t>(message->to())];
  connection->link().post(message);
  asio::post(io_, [connection] { connection->pump(); });
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

void TlsMesh::start_accept() {
  acceptor_.async_accept([this](const AsioError& error, tcp::socket socket) {
    if (error == asio::error::operation_aborted || closing_) return;
    if (!error) {
      limit_strangers();
      adopt(std::move(socket), -1);
      return start_accept();
    }
    // Out of descriptors, most likely: the next attempt at once would fail as well.
    accept_pause_.expires_after(kFirstBackoff);
    accept_pause_.async_wait([this](const AsioError& ended) {
      if (!ended && !closing_) start_accept();
    });
  });
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

void TlsMesh::start_dial(int player) {
  const TlsPlayer& entry = options_.players[static_cast<std::size_t>(player)];
  dials_.at(player).resolver.async_resolve(
      entry.host, std::to_string(entry.port),
      [this, player](const AsioError& error, const tcp::resolver::results_type& addresses) {
        if (closing_) return;
        if (error) return retry_dial(player, "cannot find the host: " + error.message());
        Dial& dial = dials_.at(player);
        dial.socket = tcp::socket(io_);
        asio::async_connect(dial.socket, addresses,
                            [this, player](const AsioError& failure, const tcp::endpoint&) {
                              if (closing_) return;
                              if (failure) return retry_dial(player, failure.message());
                              adopt(std::move(dials_.at(player).socket), player);
                            });
      });
}

void TlsMesh::retry_dial(int player, const std::string& why) {
  roll_call_.note_attempt(player, why);
  Dial& dial = dials_.at(player);
  dial.retry.expires_after(dial.backoff);
  dial.backoff = std::min(dial.backoff * 2, kLastBackoff);
  dial.retry.async_wait([this, player](const AsioError& error) {
    if (!error && !closing_) start_dial(player);
  });
}

void TlsMesh::adopt(tcp::socket socket, int dialled) {
  auto connection =
      std::make_shared<Connection>(*this, std::move(socket), settings_, *this, inbox_, dialled);
  connections_.insert(connection);
  connection->start();
}

void TlsMesh::on_tick() {
  const Clock::time_point now = Clock::now();
  // If this whole process stood still (SIGSTOP, a suspended host), silence proves nothing.
  const bool stood_still = now - last_tick_ > options_.peer_timeout / 2;
  last_tick_ = now;
  for (const auto& connection : all_connections()) {
    if (stood_still) connection->forgive_silence();
    look_after(connection, now);
  }
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
    if (connection->dialled() < 0 && now - connection->started() > options_.handshake_timeout) {
      connection->close();
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
    failed(*connection, std::move(error));
    connection->close();
    return;
  }
  if (now - connection->last_sent() >= options_.heartbeat_interval) {
    connection->link().post_control(FrameType::kHeartbeat, {});
    connection->pump();
  }
}

void TlsMesh::begin_close() {
  closing_ = true;
  AsioError ignored;
  acceptor_.close(ignored);
  accept_pause_.cancel();
  for (auto& [player, dial] : dials_) {
    dial.resolver.cancel();
    dial.socket.close(ignored);
    dial.retry.cancel();
  }
  std::string reason;
  if (const std::optional<Error> error = inbox_.failure()) reason = error->message;
  if (const std::optional<Error> error = roll_call_.error()) reason = error->message;
  for (const auto& connection : all_connections()) {
    if (connection->link().in_tls_handshake()) {
      connection->close();
    } else if (!connection->draining()) {
      connection->link().end(reason);
      connection->pump();
    }
  }
  const std::scoped_lock lock(mutex_);
  all_closed_ = connections_.empty();
  changed_.notify_all();
}

// ---- What links and connections report ----

Error connected_already(int player) {
  return make_error(ErrorCode::kRosterMismatch,
                    "player " + std::to_string(player) +
                        " is connected already; is it running twice from the same home?");
}

Result<void> TlsMesh::admit(int player) {
  // This attempt to connect is over: who comes for the next one is too early, and no twin.
  if (const std::optional<Error> over = roll_call_.error(); over.has_value()) {
    return make_error(ErrorCode::kPeerLost, "is not ready to connect yet: " + over->message);
  }
  if (!closing_ && peers_[static_cast<std::size_t>(player)] == nullptr) return {};
  return connected_already(player);
}

Result<void> TlsMesh::up(int player, std::vector<std::uint8_t> hello) {
  // Another connection of this player may have come up since this one was admitted.
  if (peers_[static_cast<std::size_t>(player)] != nullptr) return connected_already(player);
  for (const auto& connection : connections_) {
    if (connection->link().player() == player && connection->link().is_up()) {
      peers_[static_cast<std::size_t>(player)] = connection;
      connection->fit_send_buffer();
    }
  }
  AsioError ignored;
  if (roll_call_.present(player, std::move(hello))) acceptor_.close(ignored);
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
    if (error.code == ErrorCode::kIo) {
      error.code = ErrorCode::kPeerLost;
      error.message = "lost " + place(player) + ": " + error.message;
    }
    error.player = player;
    return on_loss(std::move(error));
  }
  if (closing_) return;
  if (connection.dialled() >= 0) {
    if (error.code == ErrorCode::kIo) return retry_dial(connection.dialled(), error.message);
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
  for (const auto& connection : all_connections()) {
    if (!connection->link().is_up() || connection->draining()) continue;
    connection->link().post_control(FrameType::kLost, report);
    connection->pump();
  }
}

void TlsMesh::closed(Connection& connection) {
  connections_.erase(connection.shared_from_this());
  if (!closing_ || !connections_.empty()) return;
  const std::scoped_lock lock(mutex_);
  all_closed_ = true;
  changed_.notify_all();
}

}  // namespace

std::unique_ptr<ConnectableMesh> make_tls_mesh(const TlsOptions& options,
                                               std::shared_ptr<TlsContext> context) {
  return std::make_unique<TlsMesh>(options, std::move(context));
}

}  // namespace beaverpond
