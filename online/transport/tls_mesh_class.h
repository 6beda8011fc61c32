// The mesh of TLS connections, declared. Includes Boost.Asio: for tls_mesh.cpp only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>  // before Asio: 1.74 uses std::exchange without it

#include "online/transport/tls_doors.h"
#include "online/transport/tls_mesh.h"

namespace beaverpond {

/// Who is connected, whose connection broke and is awaited, and who is lost.
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
  struct Peer {
    /// Written on the I/O thread while connecting, constant afterwards.
    std::shared_ptr<Stream> stream;
    // The I/O thread's.
    std::shared_ptr<Connection> connection;  ///< that is up; null where it broke
    Clock::time_point up_since;
    std::optional<Clock::time_point> broken;  ///< since when a new connection is awaited
    std::string why;                          ///< it broke
    bool mended_at_the_end = false;           ///< while this transport ends
    std::string last_attempt;
  };

  void run();
  void adopt(tcp::socket socket, int dialled);
  void pump(int player);
  void note_attempt(int player, const std::string& why);
  void limit_strangers();
  void begin_using(int player);
  void on_tick();
  void look_after(const std::shared_ptr<Connection>& connection, Clock::time_point now);
  bool mends(int player) const;
  void begin_break(int player, const std::string& why);
  void look_after_breaks(Clock::time_point now, Clock::duration stood_still);
  void begin_close();
  void check_all_closed();
  void on_loss(Error error);
  void spread(const Error& error);
  std::vector<std::shared_ptr<Connection>> all_connections() const {
    return {connections_.begin(), connections_.end()};
  }
  std::string place(int player) const { return describe_player(options_, player); }
  Peer& peer(int player) { return peers_[static_cast<std::size_t>(player)]; }
  const Peer& peer(int player) const { return peers_[static_cast<std::size_t>(player)]; }

  Result<void> admit(int player) override;
  Result<void> up(int player, std::vector<std::uint8_t> hello) override;
  std::shared_ptr<Stream> stream_of(int player) override;
  Error came_back(int player) override;
  void comes_again(int player) override;
  void goes_on(int player) override;
  void goodbye(int player, std::string reason) override;
  void lost(int reporter, const LostReport& report) override;
  void failed(Connection& connection, Error error) override;
  void closed(Connection& connection) override;

  const TlsOptions options_;
  LinkSettings settings_;
  RollCall roll_call_;
  Inbox inbox_;
  asio::io_context io_{1};
  Door door_{io_, [this](tcp::socket socket) {
               limit_strangers();
               adopt(std::move(socket), -1);
             }};
  Dialler dialler_{io_,
                   options_,
                   {[this](int player, tcp::socket socket) { adopt(std::move(socket), player); },
                    [this](int player, const std::string& why) { note_attempt(player, why); }}};
  asio::steady_timer tick_{io_};
  Clock::time_point last_tick_ = Clock::now();
  std::set<std::shared_ptr<Connection>> connections_;
  std::vector<Peer> peers_;  ///< by rank
  bool closing_ = false;
  bool told_ = false;  ///< the others were told of a loss

  std::mutex mutex_;  // guards all_closed_ and mending_
  std::condition_variable changed_;
  bool all_closed_ = false;
  bool mending_ = false;  ///< a connection is awaited, by which messages are to go
  std::thread thread_;
};

}  // namespace beaverpond
