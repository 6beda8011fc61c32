#include "bench/online/raw_tcp.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "online/transport/tls.h"

namespace beaverpond {
namespace {

constexpr std::size_t kPiece = std::size_t{256} << 10;

Error io_error(const char* what) {
  return make_error(ErrorCode::kIo, std::string(what) + ": " + std::strerror(errno));
}

void prepare(int socket, std::optional<int> send_buffer) {
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(socket, F_SETFL, O_NONBLOCK);
  if (!send_buffer.has_value()) return;
  ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &*send_buffer, sizeof *send_buffer);
}

struct Progress {
  std::size_t sent = 0;
  std::size_t received = 0;
};

}  // namespace

Result<RawTcp> RawTcp::make(int players, std::optional<int> send_buffer) {
  const auto count = static_cast<std::size_t>(players);
  RawTcp made;
  made.sockets_.assign(count, std::vector<int>(count, -1));
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      BP_ASSIGN(const Listener listener, listen_on("127.0.0.1", 0));
      const int dialling = ::socket(AF_INET, SOCK_STREAM, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(listener.port);
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      const bool dialled =
          ::connect(dialling, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
      int accepted = -1;
      // The listener may not block.
      for (int tries = 0; dialled && accepted < 0 && tries < 1000; ++tries) {
        pollfd one{listener.descriptor, POLLIN, 0};
        ::poll(&one, 1, 100);
        accepted = ::accept(listener.descriptor, nullptr, nullptr);
      }
      ::close(listener.descriptor);
      made.sockets_[i][j] = dialling;
      made.sockets_[j][i] = accepted;
      if (accepted < 0) return io_error("cannot connect on the loopback interface");
      prepare(dialling, send_buffer);
      prepare(accepted, send_buffer);
    }
  }
  return made;
}

RawTcp::~RawTcp() {
  for (const auto& row : sockets_) {
    for (const int socket : row) {
      if (socket >= 0) ::close(socket);
    }
  }
}

Result<void> RawTcp::exchange(int rank, std::span<const std::uint8_t> mine,
                              std::vector<std::vector<std::uint8_t>>& theirs) const {
  const std::vector<int>& own = sockets_[static_cast<std::size_t>(rank)];
  std::vector<Progress> progress(own.size());
  for (;;) {
    std::vector<pollfd> waiting;
    for (std::size_t peer = 0; peer < own.size(); ++peer) {
      if (own[peer] < 0) continue;
      Progress& now = progress[peer];
      if (now.sent < mine.size()) {
        const std::size_t size = std::min(kPiece, mine.size() - now.sent);
        const ssize_t n = ::send(own[peer], mine.data() + now.sent, size, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return io_error("send");
        now.sent += static_cast<std::size_t>(std::max<ssize_t>(n, 0));
      }
      if (now.received < mine.size()) {
        const std::size_t size = std::min(kPiece, mine.size() - now.received);
        const ssize_t n = ::recv(own[peer], theirs[peer].data() + now.received, size, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) return io_error("recv");
        now.received += static_cast<std::size_t>(std::max<ssize_t>(n, 0));
      }
      short events = 0;
      if (now.sent < mine.size()) events |= POLLOUT;
      if (now.received < mine.size()) events |= POLLIN;
      if (events != 0) waiting.push_back({own[peer], events, 0});
    }
    if (waiting.empty()) return {};
    if (::poll(waiting.data(), waiting.size(), 30'000) <= 0) return io_error("poll");
  }
}

}  // namespace beaverpond
