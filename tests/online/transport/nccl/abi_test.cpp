// The declarations of abi.h against the installed nccl.h: it must compile.
#include "online/transport/nccl/abi.h"

#include <gtest/gtest.h>
#include <nccl.h>

#include <cstddef>
#include <type_traits>

namespace beaverpond::nccl {
namespace {

static_assert(NCCL_VERSION_CODE >= kOldestVersion);

static_assert(static_cast<int>(Status::kSuccess) == ncclSuccess);
static_assert(static_cast<int>(Status::kUnhandledCudaError) == ncclUnhandledCudaError);
static_assert(static_cast<int>(Status::kSystemError) == ncclSystemError);
static_assert(static_cast<int>(Status::kInternalError) == ncclInternalError);
static_assert(static_cast<int>(Status::kInvalidArgument) == ncclInvalidArgument);
static_assert(static_cast<int>(Status::kInvalidUsage) == ncclInvalidUsage);
static_assert(static_cast<int>(Status::kRemoteError) == ncclRemoteError);
static_assert(static_cast<int>(Status::kInProgress) == ncclInProgress);
static_assert(static_cast<int>(DataType::kUint8) == ncclUint8);
static_assert(static_cast<int>(DataType::kUint64) == ncclUint64);
static_assert(static_cast<int>(RedOp::kSum) == ncclSum);
static_assert(sizeof(Status) == sizeof(ncclResult_t) && sizeof(DataType) == sizeof(ncclDataType_t));
static_assert(sizeof(RedOp) == sizeof(ncclRedOp_t) && sizeof(Comm) == sizeof(ncclComm_t));
static_assert(sizeof(UniqueId) == sizeof(ncclUniqueId));
static_assert(alignof(UniqueId) == alignof(ncclUniqueId));

// A prefix of the library's own, up to the last field that is read.
static_assert(offsetof(Config, size) == offsetof(ncclConfig_t, size));
static_assert(offsetof(Config, magic) == offsetof(ncclConfig_t, magic));
static_assert(offsetof(Config, version) == offsetof(ncclConfig_t, version));
static_assert(offsetof(Config, blocking) == offsetof(ncclConfig_t, blocking));
static_assert(sizeof(Config) <= sizeof(ncclConfig_t));

/// A function type in which the library's types are replaced by ours.
template <class T>
struct Ours {
  using type = T;
};
template <>
struct Ours<ncclResult_t> {
  using type = Status;
};
template <>
struct Ours<ncclResult_t*> {
  using type = Status*;
};
template <>
struct Ours<ncclUniqueId> {
  using type = UniqueId;
};
template <>
struct Ours<ncclUniqueId*> {
  using type = UniqueId*;
};
template <>
struct Ours<ncclConfig_t*> {
  using type = Config*;
};
template <>
struct Ours<ncclComm_t> {
  using type = Comm;
};
template <>
struct Ours<ncclComm_t*> {
  using type = Comm*;
};
template <>
struct Ours<ncclDataType_t> {
  using type = DataType;
};
template <>
struct Ours<ncclRedOp_t> {
  using type = RedOp;
};
template <class Return, class... Arguments>
typename Ours<Return>::type (*ours(Return (*)(Arguments...)))(typename Ours<Arguments>::type...);

#define SAME(field, function) \
  static_assert(std::is_same_v<decltype(Api::field), decltype(ours(&(function)))>)
SAME(get_version, ncclGetVersion);
SAME(get_unique_id, ncclGetUniqueId);
SAME(comm_init_rank_config, ncclCommInitRankConfig);
SAME(comm_finalize, ncclCommFinalize);
SAME(comm_destroy, ncclCommDestroy);
SAME(comm_abort, ncclCommAbort);
SAME(comm_get_async_error, ncclCommGetAsyncError);
SAME(get_error_string, ncclGetErrorString);
SAME(get_last_error, ncclGetLastError);
SAME(group_start, ncclGroupStart);
SAME(group_end, ncclGroupEnd);
SAME(all_reduce, ncclAllReduce);
SAME(all_gather, ncclAllGather);
SAME(broadcast, ncclBroadcast);
SAME(send, ncclSend);
SAME(recv, ncclRecv);
#undef SAME

TEST(NcclAbi, TheConfigurationIsOneThatTheLibraryKnows) {
  const ncclConfig_t theirs = NCCL_CONFIG_INITIALIZER;
  const Config ours;
  EXPECT_EQ(ours.magic, theirs.magic);
  EXPECT_LE(ours.size, theirs.size);
  EXPECT_EQ(ours.unset, NCCL_CONFIG_UNDEF_INT);
}

}  // namespace
}  // namespace beaverpond::nccl
