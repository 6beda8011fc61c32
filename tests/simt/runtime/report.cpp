// Why a block could not end, for people.
#include <map>

#include "tests/simt/runtime/machine.h"

namespace simt {
namespace {

std::string text(uint3 v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

std::string site(const char* file, int line) {
  return std::string(file) + ":" + std::to_string(line);
}

}  // namespace

std::string Machine::name(unsigned thread) const {
  return "thread " + text(threads_[thread].index);
}

std::string Machine::place(unsigned thread) const {
  const Thread& at = threads_[thread];
  switch (at.state) {
    case State::kInBarrier: return "waits at __syncthreads, " + site(at.file, at.line);
    case State::kInWarpCall: {
      char mask[16];
      std::snprintf(mask, sizeof mask, "0x%08x", at.call->mask);
      return std::string("waits in ") + at.call->name + " of lanes " + mask + ", " +
             site(at.call->file, at.call->line);
    }
    case State::kExited: return "has exited";
    default: return "runs";
  }
}

std::string Machine::describe_failure() const {
  std::string out = std::string(failure_.what) + ": block " + text(block_) + ", " +
                    name(failure_.thread) + " at " + site(failure_.file, failure_.line);
  if (failure_.other != failure_.thread) {
    const Thread& other = threads_[failure_.other];
    out += ", " + name(failure_.other) + " ";
    out += other.state == State::kInWarpCall ? place(failure_.other)
                                             : "at " + site(other.file, other.line);
  }
  return out;
}

/// One line for each place where threads stand.
std::string Machine::describe_deadlock() const {
  std::map<std::string, std::pair<unsigned, unsigned>> places;  // first thread, count
  for (unsigned i = 0; i < thread_count_; ++i) {
    auto [found, is_new] = places.try_emplace(place(i), i, 0u);
    ++found->second.second;
  }
  std::string out = "deadlock in block " + text(block_);
  for (const auto& [where, threads] : places) {
    out += "\n  " + name(threads.first);
    if (threads.second > 1) out += " and " + std::to_string(threads.second - 1) + " more";
    out += ": " + where;
  }
  return out;
}

}  // namespace simt
