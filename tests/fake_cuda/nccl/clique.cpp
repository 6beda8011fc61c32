#include "tests/fake_cuda/nccl/clique.h"

#include <cstring>

namespace beaverpond::fake_nccl {

bool Clique::ready(Ticket& ticket) {
  const std::scoped_lock lock(mutex);
  if (is_stopped(ticket.rank)) return true;
  if (!ticket.arrives) return false;
  if (!ticket.here) arrive(ticket);
  std::uint64_t number = ticket.first_round;
  for (const std::shared_ptr<Part>& part : ticket.parts) {
    if (part->is_message()) {
      if (!part->done && part->partner.expired()) return false;
    } else if (rounds_[number++].size() < static_cast<std::size_t>(ranks_) && !part->done) {
      return false;
    }
  }
  return true;
}

void Clique::arrive(Ticket& ticket) {
  ticket.here = true;
  std::uint64_t number = ticket.first_round;
  for (const std::shared_ptr<Part>& part : ticket.parts) {
    if (part->is_message()) {
      match(ticket.rank, part);
    } else {
      join(number++, ticket.rank, part);
    }
  }
}

void Clique::join(std::uint64_t number, int rank, const std::shared_ptr<Part>& part) {
  Round& round = rounds_[number];
  for (const auto& [other, theirs] : round) {
    if (theirs->kind == part->kind && theirs->bytes == part->bytes && theirs->peer == part->peer) {
      continue;
    }
    mismatches_.push_back("ranks " + std::to_string(other) + " and " + std::to_string(rank) +
                          " differ in collective " + std::to_string(number));
    return;
  }
  round.emplace(rank, part);
}

void Clique::match(int rank, const std::shared_ptr<Part>& part) {
  const bool sends = part->kind == Part::Kind::kSend;
  const Way way = sends ? Way(rank, part->peer) : Way(part->peer, rank);
  auto& theirs = sends ? receives_[way] : sends_[way];
  if (theirs.empty()) {
    (sends ? sends_ : receives_)[way].push_back(part);
    return;
  }
  const std::shared_ptr<Part> other = std::move(theirs.front());
  theirs.pop_front();
  if (other->bytes != part->bytes) {
    mismatches_.push_back("a message from rank " + std::to_string(way.first) + " to rank " +
                          std::to_string(way.second) + " has two lengths");
    return;
  }
  part->partner = other;
  other->partner = part;
}

void Clique::run(Ticket& ticket) {
  const std::scoped_lock lock(mutex);
  if (is_stopped(ticket.rank)) return;
  std::uint64_t number = ticket.first_round;
  for (const std::shared_ptr<Part>& part : ticket.parts) {
    if (!part->is_message()) {
      if (!part->done) combine(rounds_[number]);
      ++number;
      continue;
    }
    const std::shared_ptr<Part> other = part->partner.lock();
    if (part->done || other == nullptr) continue;
    const Part& from = part->kind == Part::Kind::kSend ? *part : *other;
    const Part& to = part->kind == Part::Kind::kSend ? *other : *part;
    std::memcpy(to.out, from.in, from.bytes);
    part->done = other->done = true;
  }
}

void Clique::combine(const Round& round) const {
  const Part& first = *round.begin()->second;
  if (first.kind == Part::Kind::kSum) {
    std::vector<std::uint64_t> sum(first.bytes / 8);
    for (const auto& [rank, part] : round) {
      const auto* words = static_cast<const std::uint64_t*>(part->in);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += words[i];
    }
    for (const auto& [rank, part] : round) {
      std::memcpy(part->out, sum.data(), part->bytes);
      if (part->one_too_high) ++*static_cast<std::uint64_t*>(part->out);
    }
  } else if (first.kind == Part::Kind::kGather) {
    for (const auto& [rank, part] : round) {
      for (const auto& [from, theirs] : round) {
        std::memmove(
            static_cast<std::uint8_t*>(part->out) + static_cast<std::size_t>(from) * part->bytes,
            theirs->in, part->bytes);
      }
    }
  } else {
    const void* root = round.at(first.peer)->in;
    for (const auto& [rank, part] : round) std::memmove(part->out, root, part->bytes);
  }
  for (const auto& [rank, part] : round) part->done = true;
}

void Clique::stop(int rank) {
  const std::scoped_lock lock(mutex);
  stopped_[static_cast<std::size_t>(rank)] = true;
  for (auto& [number, round] : rounds_) round.erase(rank);
  for (auto& [way, parts] : sends_) {
    if (way.first == rank) parts.clear();
  }
  for (auto& [way, parts] : receives_) {
    if (way.second == rank) parts.clear();
  }
}

std::vector<std::string> Clique::mismatches() {
  const std::scoped_lock lock(mutex);
  return mismatches_;
}

}  // namespace beaverpond::fake_nccl
