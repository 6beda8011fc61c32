#include <dlfcn.h>

#include "online/transport/nccl/abi.h"

namespace beaverpond::nccl {
namespace {

constexpr const char* kLibrary = "libnccl.so.2";

/// Fills the table; what is missing is reported once, by its name.
class Filler {
 public:
  explicit Filler(void* library) : library_(library) {}

  template <class Function>
  void operator()(Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(library_, name));
    if (function == nullptr && missing_.empty()) missing_ = name;
  }
  const std::string& missing() const { return missing_; }

 private:
  void* library_;
  std::string missing_;
};

Result<Api> open_library() {
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    return make_error(ErrorCode::kConfig,
                      std::string("cannot load NCCL: ") + (why == nullptr ? kLibrary : why) +
                          "; install NCCL 2.14 or later, or use --transport tls");
  }
  Api api;
  Filler fill(library);
  fill(api.get_version, "ncclGetVersion");
  fill(api.get_unique_id, "ncclGetUniqueId");
  fill(api.comm_init_rank_config, "ncclCommInitRankConfig");
  fill(api.comm_finalize, "ncclCommFinalize");
  fill(api.comm_destroy, "ncclCommDestroy");
  fill(api.comm_abort, "ncclCommAbort");
  fill(api.comm_get_async_error, "ncclCommGetAsyncError");
  fill(api.get_error_string, "ncclGetErrorString");
  fill(api.get_last_error, "ncclGetLastError");
  fill(api.group_start, "ncclGroupStart");
  fill(api.group_end, "ncclGroupEnd");
  fill(api.all_reduce, "ncclAllReduce");
  fill(api.all_gather, "ncclAllGather");
  fill(api.broadcast, "ncclBroadcast");
  fill(api.send, "ncclSend");
  fill(api.recv, "ncclRecv");
  if (!fill.missing().empty()) {
    return make_error(ErrorCode::kConfig, std::string(kLibrary) + " has no " + fill.missing() +
                                              "; install NCCL 2.14 or later, or use "
                                              "--transport tls");
  }
  return api;
}

}  // namespace

Result<const Api*> load() {
  static const Result<Api> loaded = open_library();
  if (!loaded.ok()) return loaded.error();
  return &loaded.value();
}

}  // namespace beaverpond::nccl
