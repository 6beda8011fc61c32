// One size of opening: what it sums up, and how often it is timed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace beaverpond {

struct OpenCase {
  std::string name;  ///< "1M"
  std::size_t bytes = 0;
  std::size_t warm_up = 0;
  std::size_t timed = 0;
};

/// The largest takes seconds where players share few cores: with `quick` for two players only.
inline std::vector<OpenCase> open_cases(bool quick, int players) {
  constexpr std::size_t kKilo = 1024;
  constexpr std::size_t kMega = kKilo * kKilo;
  if (!quick) return {{"1K", kKilo, 5, 25}, {"1M", kMega, 3, 15}, {"64M", 64 * kMega, 1, 3}};
  std::vector<OpenCase> cases = {{"1K", kKilo, 1, 3}, {"1M", kMega, 1, 2}};
  if (players == 2) cases.push_back({"64M", 64 * kMega, 0, 1});
  return cases;
}

/// Word i of player `rank`.
inline std::uint64_t open_word(int rank, std::size_t i) {
  return (static_cast<std::uint64_t>(rank) + 1) * 0x9e3779b97f4a7c15u + i * 0xbf58476d1ce4e5b9u;
}

inline void fill_open_words(int rank, std::vector<std::uint64_t>& words) {
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = open_word(rank, i);
}

/// How many words are not the sum over all players.
inline std::size_t count_wrong(const std::vector<std::uint64_t>& words, int players) {
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::uint64_t sum = 0;
    for (int rank = 0; rank < players; ++rank) sum += open_word(rank, i);
    wrong += words[i] != sum ? 1 : 0;
  }
  return wrong;
}

}  // namespace beaverpond
