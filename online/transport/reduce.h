// The arithmetic of reductions on words that lie in messages.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "online/transport/frame.h"
#include "online/transport/transport.h"

namespace beaverpond {

inline std::span<const std::uint8_t> bytes_of(std::span<const std::uint64_t> words) {
  return {reinterpret_cast<const std::uint8_t*>(words.data()), words.size_bytes()};
}

/// words[i] := words[i] op message[i].
inline void reduce_into(std::span<std::uint64_t> words, std::span<const std::uint8_t> message,
                        ReduceOp op) {
  if (op == ReduceOp::kSum) {
    for (std::size_t i = 0; i < words.size(); ++i) {
      words[i] += load_le<std::uint64_t>(message.data() + i * 8);
    }
  } else {
    for (std::size_t i = 0; i < words.size(); ++i) {
      words[i] ^= load_le<std::uint64_t>(message.data() + i * 8);
    }
  }
}

/// message[i] := message[i] op words[i].
inline void reduce_into(std::span<std::uint8_t> message, std::span<const std::uint64_t> words,
                        ReduceOp op) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto other = load_le<std::uint64_t>(message.data() + i * 8);
    store_le(message.data() + i * 8, op == ReduceOp::kSum ? other + words[i] : other ^ words[i]);
  }
}

/// sum[i] := sum[i] op message[i], both words that lie in messages.
inline void reduce_into(std::span<std::uint8_t> sum, std::span<const std::uint8_t> message,
                        ReduceOp op) {
  for (std::size_t at = 0; at < sum.size(); at += 8) {
    const auto mine = load_le<std::uint64_t>(sum.data() + at);
    const auto other = load_le<std::uint64_t>(message.data() + at);
    store_le(sum.data() + at, op == ReduceOp::kSum ? mine + other : mine ^ other);
  }
}

}  // namespace beaverpond
