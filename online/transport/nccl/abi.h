// The part of NCCL's C interface that is used, declared here, so that the module builds where
// nccl.h is not installed and runs with any libnccl.so.2 from 2.14 on. Where nccl.h is installed a
// test compares the two.
#pragma once

#include <cuda_runtime_api.h>

#include <climits>
#include <cstddef>
#include <string>

#include "beaverpond/result.h"

namespace beaverpond::nccl {

enum class Status : int {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
  kInProgress = 7,
};
enum class DataType : int { kUint8 = 1, kUint64 = 5 };
enum class RedOp : int { kSum = 0 };

/// An opaque handle: ncclComm_t.
using Comm = struct CommTag*;

struct UniqueId {
  char bytes[128];
};

/// ncclConfig_t as it was in 2.14; later libraries take what is not in it as unset.
struct Config {
  std::size_t size = sizeof(Config);
  unsigned magic = 0xcafebeef;
  unsigned version = 21400;
  int blocking = 1;
  int unset = INT_MIN;  // where later versions have a field
};
static_assert(sizeof(Config) == 24);

/// The oldest library with non-blocking communicators.
inline constexpr int kOldestVersion = 21400;

/// The library's functions, under their names without the prefix "nccl".
struct Api {
  Status (*get_version)(int*) = nullptr;
  Status (*get_unique_id)(UniqueId*) = nullptr;
  Status (*comm_init_rank_config)(Comm*, int, UniqueId, int, Config*) = nullptr;
  Status (*comm_finalize)(Comm) = nullptr;
  Status (*comm_destroy)(Comm) = nullptr;
  Status (*comm_abort)(Comm) = nullptr;
  Status (*comm_get_async_error)(Comm, Status*) = nullptr;
  const char* (*get_error_string)(Status) = nullptr;
  const char* (*get_last_error)(Comm) = nullptr;
  Status (*group_start)() = nullptr;
  Status (*group_end)() = nullptr;
  Status (*all_reduce)(const void*, void*, std::size_t, DataType, RedOp, Comm,
                       cudaStream_t) = nullptr;
  Status (*all_gather)(const void*, void*, std::size_t, DataType, Comm, cudaStream_t) = nullptr;
  Status (*broadcast)(const void*, void*, std::size_t, DataType, int, Comm, cudaStream_t) = nullptr;
  Status (*send)(const void*, std::size_t, DataType, int, Comm, cudaStream_t) = nullptr;
  Status (*recv)(void*, std::size_t, DataType, int, Comm, cudaStream_t) = nullptr;
};

/// The library of this process: libnccl.so.2, where the system's loader or the module's run path
/// find it; loaded once, never unloaded. Errors: kConfig (none, or too old; says what to install).
Result<const Api*> load();

/// "2.28.9".
inline std::string version_text(int version) {
  // Up to 2.8 the number had one digit less.
  const int unit = version >= 10'000 ? 10'000 : 1'000;
  return std::to_string(version / unit) + "." + std::to_string(version % unit / 100) + "." +
         std::to_string(version % 100);
}

}  // namespace beaverpond::nccl
