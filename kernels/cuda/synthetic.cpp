#include "kernels/cuda/synthetic.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "beaverpond/check.h"
#include "kernels/cuda/curand_api.h"
#include "kernels/cuda/memory_pool.h"
#include "kernels/cuda/runtime.h"

namespace beaverpond::cuda {
namespace {

using curand::Api;
using curand::Status;

/// One call's share of a fill, and so the scratch memory of one to the host.
constexpr std::size_t kPartBytes = std::size_t{1} << 26;

const char* name_of(Status status) {
  switch (status) {
    case Status::kSuccess: return "success";
    case Status::kVersionMismatch: return "it does not fit its driver";
    case Status::kNotInitialized: return "no generator";
    case Status::kAllocationFailed: return "not enough memory";
    case Status::kTypeError: return "no such generator";
    case Status::kOutOfRange: return "an argument out of range";
    case Status::kLaunchFailure: return "a kernel did not start";
    case Status::kPreexistingFailure: return "a failure before";
    case Status::kInitializationFailed: return "CUDA did not start";
    case Status::kArchMismatch: return "a GPU without what it needs";
    case Status::kInternalError: return "a fault of its own";
  }
  return "an unknown reason";
}

Result<void> check_curand(Status status, const std::string& what) {
  if (status == Status::kSuccess) return {};
  // CUDA's note of the same failure is not for whoever calls CUDA next.
  cudaGetLastError();
  const ErrorCode code =
      status == Status::kAllocationFailed ? ErrorCode::kOutOfMemory : ErrorCode::kDeviceFailed;
  return make_error(code, "cuRAND cannot " + what + ": " + name_of(status) + " (status " +
                              std::to_string(static_cast<int>(status)) +
                              "); use --device cpu, which gives the same numbers");
}

/// A generator at a place of a sequence. Owns.
class Generator {
 public:
  /// For the calling thread's device, or for the host. Errors: kDeviceFailed, kOutOfMemory.
  static Result<Generator> create(const Api& api, const SyntheticRequest& request) {
    Generator made(api);
    const bool on_host = request.device == SyntheticRequest::kOnHost;
    const auto create = on_host ? api.create_generator_host : api.create_generator;
    BP_TRY(
        check_curand(create(&made.handle_, curand::RngType::kPhilox4x32x10), "make a generator"));
    BP_TRY(check_curand(api.set_ordering(made.handle_, curand::Ordering::kLegacy),
                        "keep its legacy order"));
    BP_TRY(check_curand(api.set_seed(made.handle_, request.sequence_seed), "take a sequence"));
    BP_TRY(check_curand(api.set_offset(made.handle_, request.first_word), "skip words"));
    return made;
  }
  Generator(Generator&& other) noexcept
      : api_(other.api_), handle_(std::exchange(other.handle_, nullptr)) {}
  Generator& operator=(Generator&&) = delete;  // nobody needs it
  ~Generator() {
    if (handle_ != nullptr) api_.destroy_generator(handle_);
  }

  Result<void> set_stream(cudaStream_t stream) {
    return check_curand(api_.set_stream(handle_, stream), "use a stream");
  }
  /// The next words; on a device in the order of the stream.
  Result<void> next(std::span<std::uint8_t> out) {
    return check_curand(api_.generate(handle_, reinterpret_cast<unsigned int*>(out.data()),
                                      out.size() / sizeof(unsigned int)),
                        "generate");
  }

 private:
  explicit Generator(const Api& api) : api_(api) {}
  const Api& api_;
  curand::Generator handle_ = nullptr;
};

/// Calls `fill(part)` for the parts of `out`, in order.
template <class Fill>
Result<void> in_parts(std::span<std::uint8_t> out, Fill&& fill) {
  while (!out.empty()) {
    const std::size_t size = std::min(out.size(), kPartBytes);
    BP_TRY(fill(out.first(size)));
    out = out.subspan(size);
  }
  return {};
}

/// The next words into host memory, in the order of `stream`.
Result<void> next_by_way_of(Generator& generator, const Buffer& scratch,
                            std::span<std::uint8_t> out, cudaStream_t stream) {
  const std::span<std::uint8_t> here = scratch.bytes().first(out.size());
  BP_TRY(generator.next(here));
  return check(cudaMemcpyAsync(out.data(), here.data(), out.size(), cudaMemcpyDeviceToHost, stream),
               "cannot copy synthetic words");
}

Result<void> fill_by_device(const Api& api, const SyntheticRequest& request) {
  BP_TRY(device_properties(request.device));
  BP_TRY(use_device(request.device));
  BP_ASSIGN(MemoryPool pool, MemoryPool::create(request.device, ByteCount{0}));
  BP_ASSIGN(const Stream stream, pool.make_stream());
  BP_ASSIGN(Generator generator, Generator::create(api, request));
  BP_TRY(generator.set_stream(stream.get()));
  Buffer scratch;
  if (request.memory == MemoryKind::kHost) {
    const ByteCount size{std::min(request.out.size(), kPartBytes)};
    BP_ASSIGN(scratch, pool.allocate_scratch(size, stream.get()));
  }
  const Result<void> given = in_parts(request.out, [&](std::span<std::uint8_t> part) {
    return scratch.empty() ? generator.next(part)
                           : next_by_way_of(generator, scratch, part, stream.get());
  });
  // Also after a failure: nothing may write to the caller's memory any more.
  const Result<void> done = stream.synchronize_blocking();
  return given.ok() ? done : given;
}

}  // namespace

Result<void> fill_synthetic_blocking(const SyntheticRequest& request) {
  BP_CHECK(request.out.size() % sizeof(unsigned int) == 0, "synthetic words come whole");
  BP_ASSIGN(const Api* const api, curand::load());
  if (request.out.empty()) return {};
  if (request.device != SyntheticRequest::kOnHost) return fill_by_device(*api, request);
  BP_CHECK(request.memory == MemoryKind::kHost, "the CPU cannot fill a GPU's memory");
  BP_ASSIGN(Generator generator, Generator::create(*api, request));
  return in_parts(request.out, [&](std::span<std::uint8_t> part) { return generator.next(part); });
}

}  // namespace beaverpond::cuda
