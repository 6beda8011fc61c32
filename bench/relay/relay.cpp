#include "bench/relay/relay.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "online/transport/tls.h"

namespace beaverpond {
namespace {

constexpr std::size_t kReadBytes = std::size_t{256} << 10;
/// How soon the thread sees that it is to stop, or that what was held up may pass.
constexpr std::chrono::nanoseconds kLongestPoll{5'000'000};

void set_up(int descriptor) {
  ::fcntl(descriptor, F_SETFL, O_NONBLOCK);
  ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  const int yes = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

}  // namespace

Result<std::unique_ptr<Relay>> Relay::listen(std::span<const std::uint16_t> targets,
                                             RelayOptions options) {
  std::unique_ptr<Relay> relay(new Relay(std::move(options)));
  relay->room_.resize(kReadBytes);
  for (const std::uint16_t target : targets) {
    BP_ASSIGN(const Listener here, listen_on("127.0.0.1", 0));
    set_up(here.descriptor);
    relay->routes_.push_back({here.descriptor, here.port, target});
  }
  return relay;
}

Relay::~Relay() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  for (Wire& wire : wires_) close(wire, true);
  for (const Route& route : routes_) ::close(route.descriptor);
}

void Relay::start() {
  thread_ = std::thread([this] { run(); });
}

void Relay::accept(std::size_t index) {
  const int from = ::accept(routes_[index].descriptor, nullptr, nullptr);
  if (from < 0) return;
  set_up(from);
  const int to = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  set_up(to);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(routes_[index].target);
  const int connected = ::connect(to, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  Wire& wire = wires_.emplace_back();
  wire.route = index;
  wire.ends[0] = from;
  wire.ends[1] = to;
  if (connected != 0 && errno != EINPROGRESS) close(wire, true);
}

void Relay::close(Wire& wire, bool reset) {
  for (int& end : wire.ends) {
    if (end < 0) continue;
    const linger now{1, 0};
    if (reset) ::setsockopt(end, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ::close(end);
    end = -1;
  }
}

void Relay::read_from(Wire& wire, int side) {
  const ssize_t got = ::read(wire.ends[side], room_.data(), room_.size());
  if (got < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
  if (got < 0) return close(wire, true);
  Way& way = wire.to[1 - side];
  if (got == 0) {
    way.over = true;
    return;
  }
  const auto size = static_cast<std::size_t>(got);
  bytes_ += size;
  const std::span<std::uint8_t> bytes(room_.data(), size);
  if (options_.alter && !options_.alter(wire.route, bytes)) return;
  way.waiting += size;
  way.chunks.push_back({{bytes.begin(), bytes.end()}, Clock::now() + options_.delay});
}

void Relay::write_to(Wire& wire, int side, Clock::time_point now) {
  Way& way = wire.to[side];
  while (!way.chunks.empty() && way.chunks.front().due <= now) {
    const Chunk& chunk = way.chunks.front();
    const ssize_t done = ::send(wire.ends[side], chunk.bytes.data() + way.written,
                                chunk.bytes.size() - way.written, MSG_NOSIGNAL);
    if (done < 0 && errno != EAGAIN && errno != ENOTCONN) return close(wire, true);
    if (done <= 0) return;
    way.written += static_cast<std::size_t>(done);
    way.waiting -= static_cast<std::size_t>(done);
    if (way.written < chunk.bytes.size()) return;
    way.chunks.pop_front();
    way.written = 0;
  }
  if (way.chunks.empty() && way.over) ::shutdown(wire.ends[side], SHUT_WR);
}

bool Relay::finished(const Wire& wire) {
  return wire.ends[0] < 0 || (wire.to[0].over && wire.to[1].over && wire.to[0].chunks.empty() &&
                              wire.to[1].chunks.empty());
}

void Relay::clear_away() {
  for (std::size_t route = 0; options_.reset && route < routes_.size(); ++route) {
    if (!options_.reset(route)) continue;
    for (Wire& wire : wires_) {
      if (wire.route == route) close(wire, true);
    }
  }
  for (Wire& wire : wires_) {
    if (finished(wire)) close(wire, false);
  }
  std::erase_if(wires_, [](const Wire& wire) { return wire.ends[0] < 0; });
}

void Relay::run() {
  ::prctl(PR_SET_TIMERSLACK, 1000UL);  // ns: what is due goes out in time
  std::vector<pollfd> polled;
  std::vector<std::pair<Wire*, int>> of;
  while (!stop_) {
    polled.clear();
    of.clear();
    Clock::time_point now = Clock::now();
    std::chrono::nanoseconds wait = kLongestPoll;
    for (const Route& route : routes_) polled.push_back({route.descriptor, POLLIN, 0});
    for (Wire& wire : wires_) {
      if (options_.hold && options_.hold(wire.route)) continue;
      for (int side = 0; side < 2; ++side) {
        short events = 0;
        const Way& out = wire.to[side];
        const Way& in = wire.to[1 - side];
        if (!in.over && in.waiting < options_.most_bytes) events |= POLLIN;
        if (!out.chunks.empty() && out.chunks.front().due <= now) {
          events |= POLLOUT;
        } else if (!out.chunks.empty()) {
          wait = std::min(wait, std::chrono::nanoseconds(out.chunks.front().due - now));
        }
        // One that is not asked about is skipped, or a peer that hung up would keep us busy.
        polled.push_back({events == 0 ? -1 : wire.ends[side], events, 0});
        of.emplace_back(&wire, side);
      }
    }
    const timespec limit{0, static_cast<long>(wait.count())};
    ::ppoll(polled.data(), polled.size(), &limit, nullptr);
    now = Clock::now();
    for (std::size_t i = 0; i < of.size(); ++i) {
      auto& [wire, side] = of[i];
      const pollfd& end = polled[routes_.size() + i];
      if (wire->ends[0] >= 0 && (end.revents & (POLLIN | POLLHUP | POLLERR)) != 0 &&
          !wire->to[1 - side].over) {
        read_from(*wire, side);
      }
      for (int out = 0; out < 2 && wire->ends[0] >= 0; ++out) write_to(*wire, out, now);
    }
    clear_away();
    for (std::size_t i = 0; i < routes_.size(); ++i) {
      if ((polled[i].revents & POLLIN) != 0) accept(i);
    }
  }
}

}  // namespace beaverpond
