#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "online/transport/tls.h"

namespace beaverpond {

namespace {

Error cannot_listen(const std::string& address, std::uint16_t port, int reason) {
  std::string remedy = "check the address and the port of this player in roster.toml";
  if (reason == EADDRINUSE) {
    remedy =
        "another program, perhaps an earlier run of this player, has it (`ss -ltnp` shows "
        "which); stop it or change the port in roster.toml";
  } else if (reason == EACCES) {
    remedy = "ports below 1024 need privileges; choose another in roster.toml";
  } else if (reason == EADDRNOTAVAIL) {
    remedy = "this host does not have the address; use 0.0.0.0 or one that `ip addr` shows";
  }
  return make_error(ErrorCode::kIo, "cannot listen on " + address + " port " +
                                        std::to_string(port) + ": " + std::strerror(reason) + "; " +
                                        remedy);
}

/// Zero, or the errno of what failed.
int bind_and_listen(int descriptor, const addrinfo& address) {
  const int yes = 1;
  // A port left in TIME_WAIT by the run before is free for this one.
  ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (::bind(descriptor, address.ai_addr, address.ai_addrlen) != 0) return errno;
  if (::listen(descriptor, SOMAXCONN) != 0) return errno;
  return 0;
}

std::uint16_t bound_port(int descriptor) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

}  // namespace

Result<Listener> listen_on(const std::string& address, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    return make_error(ErrorCode::kConfig, "cannot listen on '" + address +
                                              "': not a numeric address; use 0.0.0.0 for all "
                                              "interfaces");
  }
  const int descriptor = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int reason = descriptor < 0 ? errno : bind_and_listen(descriptor, *found);
  ::freeaddrinfo(found);
  if (reason != 0) {
    if (descriptor >= 0) ::close(descriptor);
    return cannot_listen(address, port, reason);
  }
  return Listener{descriptor, bound_port(descriptor)};
}

}  // namespace beaverpond
