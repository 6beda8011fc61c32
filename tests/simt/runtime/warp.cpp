// Warp operations: each lane leaves a call, the last to come computes for all.
#include "tests/simt/runtime/machine.h"

namespace simt {

unsigned Machine::lanes_of_warp(unsigned first_thread) const {
  const unsigned count = thread_count_ - first_thread;
  return count >= kLanes ? 0xffffffffu : (1u << count) - 1;
}

/// Whether all members stand in this call. A member may still stand in one with another mask.
bool Machine::complete(const WarpCall& call, unsigned first_thread, unsigned members) {
  if ((waiting_[first_thread / kLanes] & members) != members) return false;
  for (unsigned lanes = members; lanes != 0; lanes &= lanes - 1) {
    const unsigned thread = first_thread + static_cast<unsigned>(__builtin_ctz(lanes));
    const WarpCall& other = *threads_[thread].call;
    if (other.mask != call.mask) return false;
    if (other.op != call.op) {
      fail("lanes of a warp meet in different operations", call.file, call.line, thread);
    }
  }
  return true;
}

void Machine::warp_call(WarpCall& call) {
  const unsigned lane = running_ % kLanes, first = running_ - lane;
  const unsigned members = call.mask & lanes_of_warp(first);
  const bool matrix =
      call.op == WarpOp::kLoadMatrix || call.op == WarpOp::kMmaS8 || call.op == WarpOp::kMmaU8;
  Thread& self = threads_[running_];
  self.call = &call;
  if ((call.mask >> lane & 1) == 0) {
    fail("a lane is not in the mask it names", call.file, call.line, running_);
  }
  if (matrix && lanes_of_warp(first) != 0xffffffffu) {
    fail("a matrix operation in a warp of less than 32 lanes", call.file, call.line, running_);
  }
  if (call.width == 0 || call.width > kLanes || (call.width & (call.width - 1)) != 0) {
    fail("a shuffle's width is no power of two up to 32", call.file, call.line, running_);
  }
  if (call.op == WarpOp::kSync) release(&self);
  self.state = State::kInWarpCall;
  waiting_[first / kLanes] |= 1u << lane;
  if (complete(call, first, members)) {
    finish(call.op, first, members);
    waiting_[first / kLanes] &= ~members;
    for (unsigned lanes = members; lanes != 0; lanes &= lanes - 1) {
      make_ready(first + static_cast<unsigned>(__builtin_ctz(lanes)));
    }
  }
  leave();
  if (call.op == WarpOp::kSync) acquire(call.order);
}

namespace {

/// The lane whose value `lane` gets, or itself where that leaves its segment.
unsigned source_lane(const WarpCall& call, unsigned lane) {
  const unsigned begin = lane & ~(call.width - 1), end = begin + call.width;
  switch (call.op) {
    case WarpOp::kShuffle: return begin + (call.operand & (call.width - 1));
    case WarpOp::kShuffleUp: return call.operand > lane - begin ? lane : lane - call.operand;
    case WarpOp::kShuffleDown: return call.operand >= end - lane ? lane : lane + call.operand;
    default: return (lane ^ (call.operand & 31)) < end ? lane ^ (call.operand & 31) : lane;
  }
}

}  // namespace

void Machine::finish(WarpOp op, unsigned first_thread, unsigned members) {
  WarpCall* calls[kLanes] = {};
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (members >> lane & 1) calls[lane] = threads_[first_thread + lane].call;
  }
  switch (op) {
    case WarpOp::kSync: return order_memory(first_thread, members);
    case WarpOp::kLoadMatrix: return load_matrix(calls);
    case WarpOp::kMmaS8: return multiply(calls, false);
    case WarpOp::kMmaU8: return multiply(calls, true);
    case WarpOp::kBallot: {
      unsigned bits = 0;
      for (unsigned lane = 0; lane < kLanes; ++lane) {
        if (calls[lane] != nullptr && calls[lane]->value != 0) bits |= 1u << lane;
      }
      for (WarpCall* call : calls) {
        if (call != nullptr) call->value = bits, call->words[0] = members;
      }
      return;
    }
    default: break;
  }
  std::uint64_t values[kLanes];
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    // A lane that takes no part has no value to give.
    values[lane] = calls[lane] != nullptr ? calls[lane]->value : random();
  }
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (calls[lane] != nullptr) calls[lane]->value = values[source_lane(*calls[lane], lane)];
  }
}

/// For ThreadSanitizer. The running lane is the last: it learns from all, and they from it.
void Machine::order_memory(unsigned first_thread, unsigned members) {
  const unsigned char* const place = mapping_ + 64 + 8 * (orders_++ % 4096);
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (members >> lane & 1) {
      acquire(&threads_[first_thread + lane]);
      threads_[first_thread + lane].call->order = place;
    }
  }
  release(place);
}

/// Lane 4i + j gets words j of row i of each of the four matrices.
void Machine::load_matrix(WarpCall* const* calls) {
  unsigned rows[kLanes][4];
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    for (unsigned i = 0; i < 4; ++i) rows[lane][i] = calls[lane]->words[i];
  }
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    for (unsigned i = 0; i < 4; ++i) calls[lane]->words[i] = rows[8 * i + lane / 4][lane % 4];
  }
}

/// Gathers the fragments to matrices, as the PTX manual draws them for mma.m16n8k32 on bytes.
void Machine::multiply(WarpCall* const* calls, bool is_unsigned) {
  std::int16_t a[16][32], b[8][32];  // b by columns
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const unsigned group = lane / 4, quad = lane % 4;
    for (unsigned i = 0; i < 16; ++i) {
      const unsigned row = group + (i / 4 % 2) * 8, k = quad * 4 + i % 4 + i / 8 * 16;
      const unsigned byte = calls[lane]->words[i / 4] >> (8 * (i % 4)) & 255;
      a[row][k] = static_cast<std::int16_t>(is_unsigned ? static_cast<int>(byte)
                                                        : static_cast<std::int8_t>(byte));
    }
    for (unsigned i = 0; i < 8; ++i) {
      const unsigned byte = calls[lane]->words[4 + i / 4] >> (8 * (i % 4)) & 255;
      b[group][quad * 4 + i % 4 + i / 4 * 16] = static_cast<std::int8_t>(byte);
    }
  }
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    for (unsigned i = 0; i < 4; ++i) {
      const std::int16_t* const row = a[lane / 4 + i / 2 * 8];
      const std::int16_t* const column = b[lane % 4 * 2 + i % 2];
      int sum = 0;
      for (unsigned k = 0; k < 32; ++k) sum += row[k] * column[k];
      calls[lane]->words[6 + i] += static_cast<unsigned>(sum);
    }
  }
}

}  // namespace simt
