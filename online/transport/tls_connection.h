// A socket and its link. Includes Boost.Asio: for tls_mesh.cpp only.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>  // before Asio: 1.74 uses std::exchange without it
#include <vector>

#include "online/transport/link.h"
#include "online/transport/send_buffer.h"

namespace beaverpond {

namespace asio = boost::asio;
using asio::ip::tcp;
using AsioError = boost::system::error_code;
using Clock = std::chrono::steady_clock;

/// A socket with its link. All on the I/O thread.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    /// Once, before the last word to the peer is out.
    virtual void failed(Connection& connection, Error error) = 0;
    virtual void closed(Connection& connection) = 0;
  };

  Connection(Owner& owner, tcp::socket socket, const LinkSettings& settings,
             Link::Owner& link_owner, Inbox& inbox, int dialled, std::shared_ptr<Stream> goes_on)
      : owner_(owner),
        socket_(std::move(socket)),
        link_(settings, link_owner, inbox, dialled, std::move(goes_on)),
        dialled_(dialled),
        input_(kReadBytes) {}

  Link& link() { return link_; }
  int dialled() const { return dialled_; }
  Clock::time_point started() const { return started_; }
  Clock::time_point last_received() const { return last_received_; }
  Clock::time_point last_sent() const { return last_sent_; }
  bool draining() const { return draining_; }
  Clock::time_point drain_end() const { return drain_end_; }
  void forgive_silence() { last_received_ = Clock::now(); }
  /// From time to time: the first round trips may have been slow ones.
  void fit_send_buffer() {
    send_buffer_ = beaverpond::fit_send_buffer(socket_.native_handle(), send_buffer_);
  }

  void start() {
    AsioError ignored;
    socket_.set_option(tcp::no_delay(true), ignored);
    socket_.non_blocking(true, ignored);
    pump();
    read();
  }

  /// Encrypts and writes what is queued, unless a write is under way.
  void pump() {
    if (writing_ || closed_) return;
    if (!draining_) {
      Result<void> filled = link_.fill_output();
      if (!filled.ok()) return fail(filled.error());
    }
    if (link_.output().empty()) {
      // A half close: the peer still reads all of it, where close() could throw it away.
      if (draining_ || link_.goodbye_sent() || link_.goodbye_received()) {
        AsioError ignored;
        socket_.shutdown(tcp::socket::shutdown_send, ignored);
      }
      return;
    }
    output_.swap(link_.output());
    link_.output().clear();
    writing_ = true;
    // All at once: Asio alone would send 64 KiB at a time.
    const auto all = [](const AsioError& error, std::size_t) {
      return error ? std::size_t{0} : kWriteBytes;
    };
    asio::async_write(socket_, asio::buffer(output_.data(), output_.size()), all,
                      [self = shared_from_this()](const AsioError& error, std::size_t) {
                        self->writing_ = false;
                        self->last_sent_ = Clock::now();
                        // When writing fails, the reading side learns why.
                        if (!error) self->pump();
                      });
  }

  /// Reports the error, sends what is left to say (an alert, a refusal), and waits a little for the
  /// peer to close.
  void fail(Error error) {
    if (draining_ || closed_) return;
    drain();
    owner_.failed(*this, std::move(error));
    pump();
  }

  void drain() {
    draining_ = true;
    drain_end_ = Clock::now() + kDrainTimeout;
  }

  void close() {
    if (std::exchange(closed_, true)) return;
    AsioError ignored;
    socket_.close(ignored);
    owner_.closed(*this);
  }

 private:
  static constexpr std::size_t kReadBytes = std::size_t{256} << 10;
  static constexpr std::size_t kWriteBytes = std::size_t{1} << 30;
  static constexpr std::chrono::milliseconds kDrainTimeout{1'000};

  void read() {
    socket_.async_read_some(asio::buffer(input_),
                            [self = shared_from_this()](const AsioError& error, std::size_t size) {
                              self->on_read(error, size);
                            });
  }

  void on_read(const AsioError& error, std::size_t size) {
    if (closed_) return;
    if (error) return on_end(error);
    last_received_ = Clock::now();
    if (!draining_) {
      Result<void> handled = link_.on_bytes({input_.data(), size});
      if (handled.ok()) {
        pump();
      } else {
        fail(handled.error());
      }
    }
    if (!closed_) read();
  }

  void on_end(const AsioError& error) {
    if (!draining_ && !link_.goodbye_received()) {
      draining_ = true;
      owner_.failed(*this,
                    make_error(ErrorCode::kIo, error == asio::error::eof
                                                   ? "the connection ended without a goodbye"
                                                   : "the connection broke: " + error.message()));
    }
    close();
  }

  Owner& owner_;
  tcp::socket socket_;
  Link link_;
  const int dialled_;
  std::vector<std::uint8_t> input_;
  OutputBytes output_;
  std::size_t send_buffer_ = 0;  ///< 0: what Linux gives it
  const Clock::time_point started_ = Clock::now();
  Clock::time_point last_received_ = started_;
  Clock::time_point last_sent_ = started_;
  Clock::time_point drain_end_;
  bool writing_ = false;
  bool draining_ = false;
  bool closed_ = false;
};

}  // namespace beaverpond
