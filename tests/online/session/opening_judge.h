// The judge of "no bundle is opened twice": what all runs of all players sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "online/session/session.h"
#include "tests/online/transport/recording_transport.h"

namespace beaverpond::testing {

/// Whether a message under `tag` is masked by a bundle.
inline bool is_opening(const Tag& tag) {
  return tag.session != 0 && tag.operation < kNonceOperation && tag.bundle != ~std::uint64_t{0};
}

/// Which session opened each bundle, over any number of sessions.
class OpenedBundles {
 public:
  /// Adds what one player sent. Returns what is wrong with it.
  std::vector<std::string> add(std::vector<SentRecord> sent) {
    std::erase_if(sent, [](const SentRecord& record) { return !is_opening(record.tag); });
    last_openings_ = sent.size();
    std::vector<std::string> problems;
    for (const SentRecord& record : sent) {
      const std::pair place(record.tag.lane, record.tag.bundle);
      if (session_of_.emplace(place, record.tag.session).first->second != record.tag.session) {
        problems.push_back("bundle " + std::to_string(record.tag.bundle) +
                           " was opened in two sessions");
      }
    }
    if (!opened_twice(sent).empty()) problems.push_back("a pad was used twice");
    return problems;
  }
  /// Openings of the last add().
  std::size_t last_openings() const { return last_openings_; }
  std::size_t size() const { return session_of_.size(); }

 private:
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> session_of_;
  std::size_t last_openings_ = 0;
};

/// Runs are given in their order. Every run begins with a new lease.
class OpeningJudge {
 public:
  explicit OpeningJudge(std::uint64_t lease_steps) : lease_steps_(lease_steps) {}

  /// Adds one run, from each player's record. Returns what is wrong with it.
  std::vector<std::string> add_run(const std::vector<std::vector<SentRecord>>& by_player) {
    std::vector<std::string> problems;
    std::set<std::uint64_t> sessions;
    std::set<std::uint64_t> bundles;
    for (std::size_t player = 0; player < by_player.size(); ++player) {
      for (const SentRecord& record : by_player[player]) {
        if (!is_opening(record.tag)) continue;
        sessions.insert(record.tag.session);
        bundles.insert(record.tag.bundle);
        by_player_[player].push_back(record);
        const std::pair key(record.tag.lane, record.tag.bundle);
        const auto [place, inserted] = session_of_.emplace(key, record.tag.session);
        if (place->second != record.tag.session) {
          problems.push_back("bundle " + std::to_string(record.tag.bundle) +
                             " was opened in two sessions");
        }
      }
    }
    if (sessions.size() != 1) problems.push_back("not one session, but several or none");
    if (bundles.empty()) return problems;
    const std::uint64_t first = *bundles.begin();
    if (first < burned_below_) problems.push_back("a bundle of an earlier lease came back");
    // Runs begin with a new lease, so the numbers of a lease are known from the first.
    const std::uint64_t leases = (*bundles.rbegin() - first) / lease_steps_ + 1;
    burned_below_ = first + leases * lease_steps_;
    last_count_ = bundles.size();
    return problems;
  }

  /// Bundles of the last run.
  std::size_t last_count() const { return last_count_; }
  /// All below was leased.
  std::uint64_t burned_below() const { return burned_below_; }

  /// Messages that differ although the same player sent them under the same mask.
  std::size_t pads_used_twice() const {
    std::size_t count = 0;
    for (const auto& [player, records] : by_player_) count += opened_twice(records).size();
    return count;
  }

 private:
  const std::uint64_t lease_steps_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> session_of_;
  std::map<std::size_t, std::vector<SentRecord>> by_player_;
  std::uint64_t burned_below_ = 0;
  std::size_t last_count_ = 0;
};

}  // namespace beaverpond::testing
