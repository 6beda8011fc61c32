// What a player sends: over which transport, from which memory, under which tag.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "fake_cuda/control.h"
#include "kernels/cuda/runtime.h"
#include "tests/online/transport/forwarding_transport.h"
#include "tests/online/transport/recording_transport.h"

namespace beaverpond::testing {

enum class Way : std::uint8_t { kReduce, kGather, kBroadcast, kSend, kMessages };

struct Sent {
  SentRecord record;
  Way way = Way::kReduce;
  MemoryKind memory = MemoryKind::kHost;
};

/// An opening that is about to be made.
struct Opening {
  int rank = 0;
  std::uint64_t run = 0;     ///< of this session, counted from 0: the step
  std::uint32_t number = 0;  ///< within the run, counted from 0
  ReduceOp op = ReduceOp::kSum;
  int nccl_call = 0;  ///< its number in the player's communicator, whose own first sum is call 0
};

/// Called before every opening. With an error the player dies there: neither this opening nor
/// anything after it leaves the player.
using BeforeOpening = std::function<std::optional<Error>(const Opening&)>;

/// Passes everything on, and records what this player sends. Device memory is looked at without
/// waiting: what is sent is complete when an opening starts.
class Tap final : public ForwardingTransport {
 public:
  Tap(std::unique_ptr<Transport> inner, std::vector<Sent>& log, BeforeOpening before = {})
      : ForwardingTransport(*inner),
        inner_(std::move(inner)),
        log_(log),
        before_(std::move(before)) {}

  Operation start_all_reduce(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                             StreamRef stream) override {
    if (dead_.has_value()) return failed();
    const std::span<const std::uint8_t> bytes{reinterpret_cast<const std::uint8_t*>(words.data()),
                                              words.size_bytes()};
    if (!bundle_.has_value() || *bundle_ != tag.bundle) {
      if (bundle_.has_value()) ++opening_.run;
      bundle_ = tag.bundle;
      opening_.number = 0;
    }
    opening_.rank = rank();
    opening_.op = op;
    ++opening_.nccl_call;
    if (before_) dead_ = before_(opening_);
    ++opening_.number;
    if (dead_.has_value()) return failed();
    add(tag, bytes, Way::kReduce);
    return ForwardingTransport::start_all_reduce(words, op, tag, stream);
  }
  Operation start_all_gather(std::span<const std::uint8_t> mine, std::span<std::uint8_t> all,
                             const Tag& tag, StreamRef stream) override {
    if (dead_.has_value()) return failed();
    add(tag, mine, Way::kGather);
    return ForwardingTransport::start_all_gather(mine, all, tag, stream);
  }
  Operation start_broadcast(int root, std::span<std::uint8_t> bytes, const Tag& tag,
                            StreamRef stream) override {
    if (dead_.has_value()) return failed();
    if (root == rank()) add(tag, bytes, Way::kBroadcast);
    return ForwardingTransport::start_broadcast(root, bytes, tag, stream);
  }
  Operation start_send(int to, std::span<const std::uint8_t> bytes, const Tag& tag,
                       StreamRef stream) override {
    if (dead_.has_value()) return failed();
    add(tag, bytes, Way::kSend);
    return ForwardingTransport::start_send(to, bytes, tag, stream);
  }
  Result<std::vector<std::vector<std::uint8_t>>> all_gather_messages_blocking(
      std::span<const std::uint8_t> mine, const Tag& tag, Deadline deadline) override {
    if (dead_.has_value()) return *dead_;
    add(tag, mine, Way::kMessages);
    return ForwardingTransport::all_gather_messages_blocking(mine, tag, deadline);
  }

 private:
  Operation failed() const {
    class Failed final : public Operation::Pending {
     public:
      explicit Failed(Error error) : error_(std::move(error)) {}
      Result<void> wait(Deadline /*deadline*/) override { return error_; }

     private:
      Error error_;
    };
    return Operation(std::make_unique<Failed>(*dead_));
  }

  void add(const Tag& tag, std::span<const std::uint8_t> bytes, Way way) {
    (void)cuda::use_device(rank());
    cudaPointerAttributes attributes{};
    if (!bytes.empty()) {
      // On a device that failed, for whoever asks: nothing leaves this player any more.
      if (cudaPointerGetAttributes(&attributes, bytes.data()) != cudaSuccess) return;
    }
    const bool on_device = attributes.type == cudaMemoryTypeDevice;
    std::vector<std::uint8_t> copy(bytes.size());
    if (on_device) {
      fake_cuda::peek(bytes.data(), copy.data(), copy.size());
    } else {
      copy.assign(bytes.begin(), bytes.end());
    }
    Sent sent;
    sent.record = {tag, bytes.size(), sha256(copy), {}};
    sent.way = way;
    sent.memory = on_device ? MemoryKind::kDevice : MemoryKind::kHost;
    log_.push_back(std::move(sent));
  }

  std::unique_ptr<Transport> inner_;
  std::vector<Sent>& log_;
  BeforeOpening before_;
  std::optional<std::uint64_t> bundle_;
  Opening opening_;
  std::optional<Error> dead_;
};

}  // namespace beaverpond::testing
