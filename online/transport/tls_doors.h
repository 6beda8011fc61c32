// How connections begin: the port where others dial in, and the dialling of others. Includes
// Boost.Asio: for tls_mesh.cpp only.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <string>
#include <utility>  // before Asio: 1.74 uses std::exchange without it

#include "online/transport/tls.h"
#include "online/transport/tls_connection.h"

namespace beaverpond {

inline constexpr std::chrono::milliseconds kFirstBackoff{50};
inline constexpr std::chrono::milliseconds kLastBackoff{1'000};

/// A listening port. Used by the I/O thread.
class Door {
 public:
  Door(asio::io_context& io, std::function<void(tcp::socket)> adopt)
      : acceptor_(io), pause_(io), adopt_(std::move(adopt)) {}

  /// Takes over `descriptor`, bound and listening. Errors: kIo.
  Result<void> open(int descriptor) {
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
    accept();
    return {};
  }

  void close() {
    closed_ = true;
    AsioError ignored;
    acceptor_.close(ignored);
    pause_.cancel();
  }

 private:
  void accept() {
    acceptor_.async_accept([this](const AsioError& error, tcp::socket socket) {
      if (error == asio::error::operation_aborted || closed_) return;
      if (!error) {
        adopt_(std::move(socket));
        return accept();
      }
      // Out of descriptors, most likely: the next attempt at once would fail as well.
      pause_.expires_after(kFirstBackoff);
      pause_.async_wait([this](const AsioError& ended) {
        if (!ended && !closed_) accept();
      });
    });
  }

  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  const std::function<void(tcp::socket)> adopt_;
  bool closed_ = false;
};

/// Dials players until it reaches them, with growing pauses. Used by the I/O thread.
class Dialler {
 public:
  /// What a dialled connection is given to, and how an attempt failed; the next follows by itself.
  struct Owner {
    std::function<void(int player, tcp::socket)> adopt;
    std::function<void(int player, const std::string& why)> failed;
  };

  Dialler(asio::io_context& io, const TlsOptions& options, Owner owner)
      : io_(io), options_(options), owner_(std::move(owner)) {}

  /// Without a pause. Each attempt ends after `limit` at the latest, if that is not zero.
  void start(int player, std::chrono::milliseconds limit = {}) {
    const auto place = dials_.try_emplace(player, io_).first;
    place->second.backoff = kFirstBackoff;
    place->second.limit = limit;
    dial(player);
  }
  /// After a pause, for an attempt that failed once it was adopted, or a connection that broke
  /// soon.
  void retry(int player, const std::string& why, std::chrono::milliseconds limit = {}) {
    Dial& dial = dials_.try_emplace(player, io_).first->second;
    dial.limit = limit;
    end_attempt(dial);
    owner_.failed(player, why);
    dial.timer.expires_after(dial.backoff);
    dial.backoff = std::min(dial.backoff * 2, kLastBackoff);
    dial.timer.async_wait([this, player, attempt = dial.attempt](const AsioError& error) {
      if (!error && attempt == dials_.at(player).attempt) this->dial(player);
    });
  }
  void stop(int player) {
    const auto at = dials_.find(player);
    if (at == dials_.end()) return;
    end_attempt(at->second);
    at->second.backoff = kFirstBackoff;
  }

 private:
  struct Dial {
    explicit Dial(asio::io_context& io) : resolver(io), socket(io), timer(io) {}
    tcp::resolver resolver;
    tcp::socket socket;
    asio::steady_timer timer;
    std::chrono::milliseconds backoff = kFirstBackoff;
    std::chrono::milliseconds limit{};
    std::uint64_t attempt = 0;  ///< what answers to another one is late
  };

  static void end_attempt(Dial& dial) {
    ++dial.attempt;
    dial.resolver.cancel();
    AsioError ignored;
    dial.socket.close(ignored);
    dial.timer.cancel();
  }

  void dial(int player) {
    const TlsPlayer& entry = options_.players[static_cast<std::size_t>(player)];
    Dial& dial = dials_.at(player);
    end_attempt(dial);
    const std::uint64_t attempt = dial.attempt;
    if (dial.limit.count() > 0) {
      dial.timer.expires_after(dial.limit);
      dial.timer.async_wait([this, player, attempt](const AsioError& error) {
        Dial& late = dials_.at(player);
        if (!error && attempt == late.attempt) retry(player, "no answer", late.limit);
      });
    }
    dial.resolver.async_resolve(
        entry.host, std::to_string(entry.port),
        [this, player, attempt](const AsioError& error,
                                const tcp::resolver::results_type& addresses) {
          Dial& found = dials_.at(player);
          if (attempt != found.attempt) return;
          if (error) {
            return retry(player, "cannot find the host: " + error.message(), found.limit);
          }
          found.socket = tcp::socket(io_);
          asio::async_connect(
              found.socket, addresses,
              [this, player, attempt](const AsioError& failure, const tcp::endpoint&) {
                Dial& reached = dials_.at(player);
                if (attempt != reached.attempt) return;
                if (failure) return retry(player, failure.message(), reached.limit);
                tcp::socket socket = std::move(reached.socket);
                end_attempt(reached);
                owner_.adopt(player, std::move(socket));
              });
        });
  }

  asio::io_context& io_;
  const TlsOptions& options_;
  const Owner owner_;
  std::map<int, Dial> dials_;
};

}  // namespace beaverpond
