#include "online/transport/send_buffer.h"

#include <linux/tcp.h>  // and no <netinet/tcp.h>, whose tcp_info is that of an old kernel
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdint>

namespace beaverpond {

std::optional<std::size_t> send_buffer_bytes(unsigned round_trip_us) {
  const std::uint64_t wanted = std::uint64_t{round_trip_us} * (kSendBufferRate / 1'000'000);
  if (wanted > kLargestSendBuffer) return std::nullopt;
  return std::max(static_cast<std::size_t>(wanted), kSmallestSendBuffer);
}

std::optional<unsigned> shortest_round_trip_us(int socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  if (size < offsetof(tcp_info, tcpi_min_rtt) + sizeof info.tcpi_min_rtt) return std::nullopt;
  const unsigned shortest = info.tcpi_min_rtt;
  if (shortest == 0 || shortest == ~0u) return std::nullopt;  // none seen yet
  return shortest;
}

std::size_t fit_send_buffer(int socket, std::size_t present) {
  const std::optional<unsigned> round_trip = shortest_round_trip_us(socket);
  if (!round_trip.has_value()) return present;
  std::optional<std::size_t> wanted = send_buffer_bytes(*round_trip);
  if (!wanted.has_value() && present != 0) wanted = kLargestSendBuffer;
  if (!wanted.has_value() || *wanted == present) return present;
  const int bytes = static_cast<int>(*wanted);
  const bool set = ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) == 0;
  return set ? *wanted : present;
}

}  // namespace beaverpond
