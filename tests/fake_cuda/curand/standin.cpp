#include "tests/fake_cuda/curand/standin.h"

#include <cstddef>
#include <map>
#include <utility>

#include "fake_cuda/queue.h"
#include "kernels/synthetic/philox.h"

namespace beaverpond {

using cuda::curand::Api;
using cuda::curand::Generator;
using cuda::curand::Ordering;
using cuda::curand::RngType;
using cuda::curand::Status;

struct cuda::curand::GeneratorTag {
  bool on_host = false;
  bool legacy = false;
  unsigned long long seed = 0;
  unsigned long long next = 0;
  cudaStream_t stream = nullptr;
};

namespace fake_curand {
namespace {

/// One thread at a time, as its tests are.
struct World {
  bool installed = true;
  Counts counts;
  std::map<Call, std::pair<int, Status>> failures;
};

World& world() {
  static World instance;
  return instance;
}

/// Whether the call goes on; else its status.
Status planned(Call call) {
  const auto failure = world().failures.find(call);
  if (failure == world().failures.end() || --failure->second.first > 0) return Status::kSuccess;
  const Status status = failure->second.second;
  world().failures.erase(failure);
  return status;
}

Status create(Generator* out, RngType type, bool on_host) {
  if (const Status status = planned(Call::kCreate); status != Status::kSuccess) return status;
  if (type != RngType::kPhilox4x32x10) return Status::kTypeError;
  int devices = 0;
  if (!on_host && cudaGetDeviceCount(&devices) != cudaSuccess) return Status::kInitializationFailed;
  *out = new cuda::curand::GeneratorTag{.on_host = on_host};
  Counts& counts = world().counts;
  ++(on_host ? counts.host_generators : counts.device_generators);
  ++counts.live;
  return Status::kSuccess;
}

Status create_device(Generator* out, RngType type) {
  return create(out, type, false);
}
Status create_host(Generator* out, RngType type) {
  return create(out, type, true);
}

Status destroy(Generator generator) {
  delete generator;
  --world().counts.live;
  return Status::kSuccess;
}

Status set_stream(Generator generator, cudaStream_t stream) {
  generator->stream = stream;
  return planned(Call::kStream);
}
Status set_seed(Generator generator, unsigned long long seed) {
  generator->seed = seed;
  return planned(Call::kSeed);
}
Status set_offset(Generator generator, unsigned long long offset) {
  generator->next = offset;
  return planned(Call::kOffset);
}
Status set_ordering(Generator generator, Ordering ordering) {
  generator->legacy = ordering == Ordering::kLegacy;
  return planned(Call::kOrdering);
}

Status generate(Generator generator, unsigned int* out, std::size_t count) {
  if (const Status status = planned(Call::kGenerate); status != Status::kSuccess) return status;
  // Another order depends on the device.
  if (!generator->legacy) return Status::kOutOfRange;
  const auto write = [out, count, seed = generator->seed, first = generator->next] {
    for (std::size_t i = 0; i < count; ++i) {
      out[i] = synthetic_block(seed, (first + i) / 4)[(first + i) % 4];
    }
  };
  generator->next += count;
  world().counts.words += count;
  if (generator->on_host) {
    write();
    return Status::kSuccess;
  }
  fake_cuda::check_device_range(out, count * sizeof(*out), "cuRAND");
  const cudaError_t queued = fake_cuda::enqueue(generator->stream, {"cuRAND", nullptr, write});
  return queued == cudaSuccess ? Status::kSuccess : Status::kPreexistingFailure;
}

}  // namespace

void reset() {
  const int live = world().counts.live;
  world() = World();
  world().counts.live = live;
}
void set_installed(bool installed) {
  world().installed = installed;
}
void fail_call(Call call, int nth, Status status) {
  world().failures[call] = {nth, status};
}
Counts counts() {
  return world().counts;
}

}  // namespace fake_curand

Result<const Api*> cuda::curand::load() {
  static const Api api{.create_generator = &fake_curand::create_device,
                       .create_generator_host = &fake_curand::create_host,
                       .destroy_generator = &fake_curand::destroy,
                       .set_stream = &fake_curand::set_stream,
                       .set_seed = &fake_curand::set_seed,
                       .set_offset = &fake_curand::set_offset,
                       .set_ordering = &fake_curand::set_ordering,
                       .generate = &fake_curand::generate};
  fake_curand::World& world = fake_curand::world();
  ++world.counts.loads;
  if (!world.installed) {
    return make_error(ErrorCode::kDeviceFailed, "no cuRAND in this test; use --device cpu");
  }
  return &api;
}

}  // namespace beaverpond
