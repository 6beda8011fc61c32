// How much a connection between players who are close to each other keeps in the kernel.
#pragma once

#include <cstddef>
#include <optional>

namespace beaverpond {

/// What a send buffer is worth where a message and its acknowledgement take `round_trip_us`: what
/// goes out meanwhile at kSendBufferRate, and kSmallestSendBuffer at least. Linux lets a buffer
/// grow to megabytes by itself; between players of one host that is memory which has left the
/// processor's caches when it is read (bench/README.md, Openings). Unset where more than
/// kLargestSendBuffer is wanted: far apart, Linux knows better.
std::optional<std::size_t> send_buffer_bytes(unsigned round_trip_us);

/// Bytes a second: several times what the thread of a connection encrypts and sends.
inline constexpr std::size_t kSendBufferRate = std::size_t{6'000'000'000};
inline constexpr std::size_t kSmallestSendBuffer = std::size_t{128} << 10;
inline constexpr std::size_t kLargestSendBuffer = std::size_t{1} << 20;

/// The shortest round trip that the kernel has seen on a connected TCP socket in the last minutes,
/// in microseconds; unset where it does not say.
std::optional<unsigned> shortest_round_trip_us(int socket);

/// Gives the socket the send buffer that its round trip wants, if that is not what it has:
/// `present`, 0 where Linux decides. Returns what it has then. One that was set stays set, since
/// Linux does not take it back: it grows to kLargestSendBuffer if the round trip does.
std::size_t fit_send_buffer(int socket, std::size_t present);

}  // namespace beaverpond
