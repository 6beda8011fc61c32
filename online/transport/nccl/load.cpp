#include "kernels/cuda/library.h"
#include "online/transport/nccl/abi.h"

namespace beaverpond::nccl {
namespace {

Result<Api> open_library() {
  BP_ASSIGN(cuda::Library library,
            cuda::Library::open("libnccl.so.2", "NCCL", ErrorCode::kConfig,
                                "install NCCL 2.14 or later, or use --transport tls"));
  Api api;
  library.fill(api.get_version, "ncclGetVersion");
  library.fill(api.get_unique_id, "ncclGetUniqueId");
  library.fill(api.comm_init_rank_config, "ncclCommInitRankConfig");
  library.fill(api.comm_finalize, "ncclCommFinalize");
  library.fill(api.comm_destroy, "ncclCommDestroy");
  library.fill(api.comm_abort, "ncclCommAbort");
  library.fill(api.comm_get_async_error, "ncclCommGetAsyncError");
  library.fill(api.get_error_string, "ncclGetErrorString");
  library.fill(api.get_last_error, "ncclGetLastError");
  library.fill(api.group_start, "ncclGroupStart");
  library.fill(api.group_end, "ncclGroupEnd");
  library.fill(api.all_reduce, "ncclAllReduce");
  library.fill(api.all_gather, "ncclAllGather");
  library.fill(api.broadcast, "ncclBroadcast");
  library.fill(api.send, "ncclSend");
  library.fill(api.recv, "ncclRecv");
  BP_TRY(library.complete());
  return api;
}

}  // namespace

Result<const Api*> load() {
  static const Result<Api> loaded = open_library();
  if (!loaded.ok()) return loaded.error();
  return &loaded.value();
}

}  // namespace beaverpond::nccl
