// Players that are threads of this process, each with a device of its own, over the stand-in of
// NCCL.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "fake_cuda/control.h"
#include "kernels/cuda/memory_pool.h"
#include "kernels/cuda/runtime.h"
#include "online/transport/nccl/nccl.h"
#include "tests/fake_cuda/nccl/standin.h"
#include "tests/online/transport/players.h"

namespace beaverpond::testing {

/// One device: its memory, filled and read by copies.
class Gpu {
 public:
  explicit Gpu(int device) {
    Result<cuda::MemoryPool> made = cuda::MemoryPool::create(device, ByteCount{0});
    BP_CHECK(made.ok(), "no memory of the stand-in's device");
    pool_.emplace(std::move(made).value());
  }

  StreamRef home() const { return StreamRef{pool_->home()}; }

  template <class T>
  Buffer put(const std::vector<T>& values) {
    // At least a byte: a view of nothing is no device memory.
    Result<Buffer> made =
        pool_->allocate(ByteCount{std::max<std::size_t>(8, values.size() * sizeof(T))});
    BP_CHECK(made.ok(), "no room on the stand-in's device");
    copy(made->bytes().data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice);
    return std::move(made).value();
  }
  template <class T>
  std::vector<T> get(const Buffer& buffer, std::size_t count) {
    std::vector<T> values(count);
    copy(values.data(), buffer.bytes().data(), count * sizeof(T), cudaMemcpyDeviceToHost);
    return values;
  }

 private:
  void copy(void* to, const void* from, std::size_t size, cudaMemcpyKind kind) {
    if (size == 0) return;
    BP_CHECK(cuda::use_device(pool_->device()).ok(), "the stand-in has its devices");
    const cudaStream_t stream = pool_->home();
    BP_CHECK(cudaMemcpyAsync(to, from, size, kind, stream) == cudaSuccess &&
                 cudaStreamSynchronize(stream) == cudaSuccess,
             "copies of the stand-in");
  }

  std::optional<cuda::MemoryPool> pool_;
};

/// Control connections, devices and transports of all players.
class NcclPlayers {
 public:
  explicit NcclPlayers(int players, bool tls = false) : players_(players) {
    fake_cuda::Settings settings;
    settings.devices = players;
    fake_cuda::reset(settings);
    controls = tls ? make_tls_transports(players) : make_local_transports(players);
    for (int rank = 0; rank < players; ++rank) {
      gpus.push_back(std::make_unique<Gpu>(rank));
      options.push_back(quick_options(rank));
      options.back().host_stream = gpus.back()->home();
    }
  }

  /// Connects all; the results by rank.
  std::vector<Result<void>> connect(int limit_ms = 20'000) {
    transports.clear();
    transports.resize(static_cast<std::size_t>(players_));
    std::vector<Result<void>> results(static_cast<std::size_t>(players_));
    run_players(players_, [&](int rank) {
      const auto i = static_cast<std::size_t>(rank);
      auto made = connect_nccl_blocking(*controls[i], options[i], in_ms(limit_ms));
      if (made.ok()) {
        transports[i] = std::move(made).value();
      } else {
        results[i] = made.error();
      }
    });
    return results;
  }
  void connect_well() {
    for (const Result<void>& result : connect()) {
      ASSERT_TRUE(result.ok()) << result.error().message;
    }
  }
  void disconnect() {
    run_players(players_, [&](int rank) { transports[static_cast<std::size_t>(rank)].reset(); });
  }

  int size() const { return players_; }
  Transport& transport(int rank) { return *transports[static_cast<std::size_t>(rank)]; }
  Transport& control(int rank) { return *controls[static_cast<std::size_t>(rank)]; }
  Gpu& gpu(int rank) { return *gpus[static_cast<std::size_t>(rank)]; }

  /// The sum of rank + 1 over all players, in device memory.
  Result<void> sum(int rank, int limit_ms, std::uint32_t operation = 1) {
    const Buffer word = gpu(rank).put(std::vector<std::uint64_t>{static_cast<unsigned>(rank) + 1});
    const Tag tag{.session = 1, .operation = operation};
    BP_TRY(transport(rank).all_reduce_blocking(word.words().first(1), ReduceOp::kSum, tag,
                                               in_ms(limit_ms)));
    const auto n = static_cast<std::uint64_t>(players_);
    EXPECT_EQ(gpu(rank).get<std::uint64_t>(word, 1)[0], n * (n + 1) / 2);
    return {};
  }

  std::vector<NcclOptions> options;  ///< by rank; may be changed before connect()
  std::vector<std::unique_ptr<Transport>> controls;
  std::vector<std::unique_ptr<Gpu>> gpus;
  std::vector<std::unique_ptr<Transport>> transports;

 private:
  static NcclOptions quick_options(int rank) {
    NcclOptions options;
    options.device = rank;
    options.trusted_fabric = true;
    // On a busy machine the thread that aborts may get its turn late. Where it hangs on purpose
    // tests take less.
    options.abort_timeout = std::chrono::milliseconds(3'000);
    options.blame_timeout = std::chrono::milliseconds(300);
    options.loss_grace = std::chrono::milliseconds(50);
    options.connect_timeout = std::chrono::milliseconds(20'000);
    options.api = &fake_nccl::api();
    return options;
  }

  const int players_;
};

}  // namespace beaverpond::testing
