#include "kernels/cuda/curand_api.h"
#include "kernels/cuda/library.h"

namespace beaverpond::cuda::curand {
namespace {

Result<Api> open_library() {
  BP_ASSIGN(Library library,
            Library::open("libcurand.so.10", "cuRAND", ErrorCode::kDeviceFailed,
                          "install cuRAND 10 (a part of the CUDA toolkit), or use --device cpu, "
                          "which gives the same numbers"));
  Api api;
  library.fill(api.create_generator, "curandCreateGenerator");
  library.fill(api.create_generator_host, "curandCreateGeneratorHost");
  library.fill(api.destroy_generator, "curandDestroyGenerator");
  library.fill(api.set_stream, "curandSetStream");
  library.fill(api.set_seed, "curandSetPseudoRandomGeneratorSeed");
  library.fill(api.set_offset, "curandSetGeneratorOffset");
  library.fill(api.set_ordering, "curandSetGeneratorOrdering");
  library.fill(api.generate, "curandGenerate");
  BP_TRY(library.complete());
  return api;
}

}  // namespace

Result<const Api*> load() {
  static const Result<Api> loaded = open_library();
  if (!loaded.ok()) return loaded.error();
  return &loaded.value();
}

}  // namespace beaverpond::cuda::curand
