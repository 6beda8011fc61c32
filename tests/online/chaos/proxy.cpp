#include "tests/online/chaos/proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "online/transport/tls.h"

namespace beaverpond::testing {
namespace {

constexpr std::size_t kMost = std::size_t{1} << 20;  // waits in one direction

void set_up(int descriptor) {
  ::fcntl(descriptor, F_SETFL, O_NONBLOCK);
  ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  const int yes = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

}  // namespace

ChaosProxy::ChaosProxy(std::vector<std::uint16_t> ports) : ports_(std::move(ports)) {
  for (int dialler = 0; dialler < static_cast<int>(ports_.size()); ++dialler) {
    for (int listener = 0; listener < dialler; ++listener) {
      const Result<Listener> here = listen_on("127.0.0.1", 0);
      BP_CHECK(here.ok(), "a test can listen");
      set_up(here->descriptor);
      Pair pair;
      pair.dialler = dialler;
      pair.listener = listener;
      pair.descriptor = here->descriptor;
      pair.port = here->port;
      pairs_.push_back(pair);
    }
  }
  thread_ = std::thread([this] { run(); });
}

ChaosProxy::~ChaosProxy() {
  stop_ = true;
  thread_.join();
  for (Wire& wire : wires_) close(wire, true);
  for (const Pair& pair : pairs_) ::close(pair.descriptor);
}

std::string ChaosProxy::peers_of(int player) const {
  std::string text;
  for (int peer = 0; peer < static_cast<int>(ports_.size()); ++peer) {
    std::uint16_t port = ports_[static_cast<std::size_t>(peer)];
    for (const Pair& pair : pairs_) {
      if (pair.dialler == player && pair.listener == peer) port = pair.port;
    }
    text.append(peer == 0 ? "" : ",").append("127.0.0.1:").append(std::to_string(port));
  }
  return text;
}

void ChaosProxy::strike(WireFault fault, int player, int other, std::chrono::milliseconds time) {
  const std::scoped_lock lock(mutex_);
  for (Pair& pair : pairs_) {
    const bool one = pair.dialler == player || pair.listener == player;
    const bool two = other < 0 || pair.dialler == other || pair.listener == other;
    if (!one || !two) continue;
    if (fault == WireFault::kStall) {
      pair.stalled_until = Clock::now() + time;
    } else if (fault == WireFault::kReset) {
      pair.reset = true;
    } else {
      pair.alter = 1;
      pair.kind = fault;
    }
  }
}

void ChaosProxy::accept(std::size_t index) {
  const int from = ::accept(pairs_[index].descriptor, nullptr, nullptr);
  if (from < 0) return;
  set_up(from);
  const int to = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  set_up(to);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(ports_[static_cast<std::size_t>(pairs_[index].listener)]);
  const int connected = ::connect(to, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  Wire& wire = wires_.emplace_back();
  wire.pair = index;
  wire.ends[0] = from;
  wire.ends[1] = to;
  if (connected != 0 && errno != EINPROGRESS) close(wire, true);
}

void ChaosProxy::close(Wire& wire, bool reset) {
  for (int& end : wire.ends) {
    if (end < 0) continue;
    const linger now{1, 0};
    if (reset) ::setsockopt(end, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ::close(end);
    end = -1;
  }
}

void ChaosProxy::read_from(Wire& wire, int side) {
  std::array<std::uint8_t, 16384> bytes;
  const ssize_t got = ::read(wire.ends[side], bytes.data(), bytes.size());
  if (got < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
  if (got < 0) return close(wire, true);
  if (got == 0) {
    wire.over[side] = true;
    return;
  }
  const auto size = static_cast<std::size_t>(got);
  bytes_ += size;
  Pair& pair = pairs_[wire.pair];
  std::vector<std::uint8_t>& out = wire.out[1 - side];
  if (pair.alter > 0) {
    --pair.alter;
    if (pair.kind == WireFault::kCorrupt) bytes[size / 2] ^= 4;
    if (pair.kind == WireFault::kSwap) std::reverse(bytes.begin(), bytes.begin() + got);
    if (pair.kind == WireFault::kLose) return;
  }
  out.insert(out.end(), bytes.begin(), bytes.begin() + got);
}

void ChaosProxy::write_to(Wire& wire, int side) {
  std::vector<std::uint8_t>& out = wire.out[side];
  if (!out.empty()) {
    const ssize_t done = ::send(wire.ends[side], out.data(), out.size(), MSG_NOSIGNAL);
    if (done < 0 && errno != EAGAIN && errno != ENOTCONN) return close(wire, true);
    if (done > 0) out.erase(out.begin(), out.begin() + done);
  }
  if (out.empty() && wire.over[1 - side]) {
    ::shutdown(wire.ends[side], SHUT_WR);
  }
}

bool ChaosProxy::finished(const Wire& wire) const {
  return wire.ends[0] < 0 ||
         (wire.over[0] && wire.over[1] && wire.out[0].empty() && wire.out[1].empty());
}

void ChaosProxy::run() {
  while (!stop_) {
    std::vector<pollfd> polled;
    std::vector<std::pair<Wire*, int>> of;
    {
      const std::scoped_lock lock(mutex_);
      const Clock::time_point now = Clock::now();
      for (const Pair& pair : pairs_) polled.push_back({pair.descriptor, POLLIN, 0});
      for (Wire& wire : wires_) {
        if (pairs_[wire.pair].stalled_until > now) continue;
        for (int side = 0; side < 2; ++side) {
          short events = 0;
          if (!wire.over[side] && wire.out[1 - side].size() < kMost) events |= POLLIN;
          if (!wire.out[side].empty()) events |= POLLOUT;
          if (events == 0) continue;
          polled.push_back({wire.ends[side], events, 0});
          of.emplace_back(&wire, side);
        }
      }
    }
    ::poll(polled.data(), polled.size(), 5);
    const std::scoped_lock lock(mutex_);
    for (std::size_t i = 0; i < of.size(); ++i) {
      auto& [wire, side] = of[i];
      const short events = polled[pairs_.size() + i].revents;
      if (wire->ends[0] >= 0 && (events & (POLLIN | POLLHUP | POLLERR)) != 0) {
        read_from(*wire, side);
      }
      for (int end = 0; end < 2 && wire->ends[0] >= 0; ++end) write_to(*wire, end);
    }
    for (Wire& wire : wires_) {
      if (pairs_[wire.pair].reset) close(wire, true);
      if (finished(wire)) close(wire, false);
    }
    for (Pair& pair : pairs_) pair.reset = false;
    std::erase_if(wires_, [](const Wire& wire) { return wire.ends[0] < 0; });
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      if ((polled[i].revents & POLLIN) != 0) accept(i);
    }
  }
}

}  // namespace beaverpond::testing
