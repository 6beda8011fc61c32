// The ranks of one communicator of the stand-in, and what they meet for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace beaverpond::fake_nccl {

/// One rank's part of a collective, or a message.
struct Part {
  enum class Kind : std::uint8_t { kSum, kGather, kBroadcast, kSend, kReceive };
  Kind kind = Kind::kSum;
  const void* in = nullptr;
  void* out = nullptr;
  std::size_t bytes = 0;
  int peer = 0;
  bool one_too_high = false;
  std::weak_ptr<Part> partner = {};  ///< of a message
  bool done = false;

  bool is_message() const { return kind == Kind::kSend || kind == Kind::kReceive; }
};

/// What a rank puts on its stream at once.
struct Ticket {
  int rank = 0;
  std::vector<std::shared_ptr<Part>> parts;
  std::uint64_t first_round = 0;  ///< of its collectives
  bool arrives = true;            ///< false: its part never comes
  bool here = false;
};

/// Where the streams of all ranks meet: a ticket arrives when its turn on its stream comes, and can
/// run when all that it needs of the others has arrived. Ranks that differ never get on, as with
/// NCCL. Thread safe.
class Clique {
 public:
  explicit Clique(int ranks)
      : devices(static_cast<std::size_t>(ranks), -1),
        ranks_(ranks),
        stopped_(static_cast<std::size_t>(ranks)) {}

  bool ready(Ticket& ticket);
  void run(Ticket& ticket);
  /// Whatever the rank has on its stream ends, and its memory is not touched again.
  void stop(int rank);
  std::vector<std::string> mismatches();

  std::mutex mutex;          // of the fields below
  std::vector<int> devices;  ///< by rank, -1 before it has come
  int come = 0;              ///< ranks that have called init
  int first_calls = 0;       ///< ranks that have made their first call

 private:
  using Round = std::map<int, std::shared_ptr<Part>>;
  using Way = std::pair<int, int>;  // from, to

  bool is_stopped(int rank) const { return stopped_[static_cast<std::size_t>(rank)]; }
  void arrive(Ticket& ticket);
  void join(std::uint64_t number, int rank, const std::shared_ptr<Part>& part);
  void match(int rank, const std::shared_ptr<Part>& part);
  void combine(const Round& round) const;

  const int ranks_;
  std::vector<bool> stopped_;
  std::map<std::uint64_t, Round> rounds_;
  std::map<Way, std::deque<std::shared_ptr<Part>>> sends_;
  std::map<Way, std::deque<std::shared_ptr<Part>>> receives_;
  std::vector<std::string> mismatches_;
};

}  // namespace beaverpond::fake_nccl
