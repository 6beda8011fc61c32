#include "kernels/cuda/runtime.h"

#include <cstring>

#include "kernels/cuda/pauses.h"

namespace beaverpond::cuda {
namespace {

std::string remedy(cudaError_t status) {
  switch (status) {
    case cudaErrorInsufficientDriver:
      return "no NVIDIA driver, or one too old for CUDA " + std::to_string(CUDART_VERSION / 1000) +
             "; install a newer one, or use --device cpu";
    case cudaErrorNoDevice: return "no GPU is visible to this process; use --device cpu";
    case cudaErrorMemoryAllocation:
      return "use a smaller batch, fewer players a device, or --device cpu";
    case cudaErrorNoKernelImageForDevice:
      return "the module was built for other GPUs; build it for this one, or use --device cpu";
    case cudaErrorSystemDriverMismatch:
    case cudaErrorSystemNotReady:
    case cudaErrorCompatNotSupportedOnDevice:
      return "the driver and this CUDA do not fit; see nvidia-smi, or use --device cpu";
    default:
      return "a device that failed stays so until the program is started again; if it fails again "
             "see nvidia-smi and the kernel log, or use --device cpu";
  }
}

}  // namespace

Error error_of(cudaError_t status, const std::string& what) {
  const ErrorCode code =
      status == cudaErrorMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kDeviceFailed;
  return make_error(code, what + ": " + cudaGetErrorString(status) + " (CUDA error " +
                              std::to_string(static_cast<int>(status)) + "); " + remedy(status));
}

Result<void> check(cudaError_t status, const std::string& what) {
  if (status == cudaSuccess) return {};
  cudaGetLastError();
  return error_of(status, what);
}

Result<bool> done_within(cudaStream_t stream, std::chrono::milliseconds patience) {
  Pauses pauses;
  for (;;) {
    const cudaError_t status = cudaStreamQuery(stream);
    if (status != cudaErrorNotReady) {
      BP_TRY(check(status, "a device failed at its work"));
      return true;
    }
    cudaGetLastError();
    if (pauses.waited() >= patience) return false;
    pauses.pause();
  }
}

Result<int> device_count() {
  int count = 0;  // CUDA leaves it alone when it fails
  BP_TRY(check(cudaGetDeviceCount(&count), "cannot use a GPU"));
  if (count <= 0) return error_of(cudaErrorNoDevice, "cannot use a GPU");
  return count;
}

Result<DeviceProperties> device_properties(int device) {
  BP_ASSIGN(const int count, device_count());
  if (device < 0 || device >= count) {
    return make_error(ErrorCode::kConfig,
                      "no device cuda:" + std::to_string(device) +
                          "; this machine has cuda:0 to cuda:" + std::to_string(count - 1));
  }
  cudaDeviceProp found{};
  BP_TRY(check(cudaGetDeviceProperties(&found, device),
               "cannot ask what cuda:" + std::to_string(device) + " is"));
  DeviceProperties properties;
  properties.name.assign(found.name, strnlen(found.name, sizeof(found.name)));
  properties.major = found.major;
  properties.minor = found.minor;
  properties.multiprocessors = found.multiProcessorCount;
  properties.memory = ByteCount{found.totalGlobalMem};
  properties.memory_pools = found.memoryPoolsSupported != 0;
  return properties;
}

Result<void> use_device(int device) {
  int current = 0;
  if (cudaGetDevice(&current) == cudaSuccess && current == device) return {};
  return check(cudaSetDevice(device), "cannot use cuda:" + std::to_string(device));
}

Result<Event> Event::create() {
  cudaEvent_t event = nullptr;
  BP_TRY(check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cannot make an event"));
  return Event(event);
}

Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}

Result<void> Event::record(cudaStream_t stream) const {
  return check(cudaEventRecord(event_, stream), "cannot mark a place in a stream");
}

Result<void> Event::wait_on(cudaStream_t stream) const {
  return check(cudaStreamWaitEvent(stream, event_, 0), "cannot let a stream wait");
}

Result<bool> Event::done() const {
  const cudaError_t status = cudaEventQuery(event_);
  if (status == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  BP_TRY(check(status, "a device failed at its work"));
  return true;
}

Result<bool> Event::done_within(std::chrono::milliseconds patience) const {
  Pauses pauses;
  for (;;) {
    BP_ASSIGN(const bool reached, done());
    if (reached || pauses.waited() >= patience) return reached;
    pauses.pause();
  }
}

}  // namespace beaverpond::cuda
