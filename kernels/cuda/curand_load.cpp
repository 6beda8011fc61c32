#include <dlfcn.h>

#include <string>

#include "kernels/cuda/curand_api.h"

namespace beaverpond::cuda::curand {
namespace {

constexpr const char* kLibrary = "libcurand.so.10";
constexpr const char* kRemedy =
    "; install cuRAND 10 (a part of the CUDA toolkit), or use --device cpu, which gives the "
    "same numbers";

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
    return make_error(ErrorCode::kDeviceFailed, std::string("cannot load cuRAND: ") +
                                                    (why == nullptr ? kLibrary : why) + kRemedy);
  }
  Api api;
  Filler fill(library);
  fill(api.create_generator, "curandCreateGenerator");
  fill(api.create_generator_host, "curandCreateGeneratorHost");
  fill(api.destroy_generator, "curandDestroyGenerator");
  fill(api.set_stream, "curandSetStream");
  fill(api.set_seed, "curandSetPseudoRandomGeneratorSeed");
  fill(api.set_offset, "curandSetGeneratorOffset");
  fill(api.set_ordering, "curandSetGeneratorOrdering");
  fill(api.generate, "curandGenerate");
  if (!fill.missing().empty()) {
    return make_error(ErrorCode::kDeviceFailed,
                      std::string(kLibrary) + " has no " + fill.missing() + kRemedy);
  }
  return api;
}

}  // namespace

Result<const Api*> load() {
  static const Result<Api> loaded = open_library();
  if (!loaded.ok()) return loaded.error();
  return &loaded.value();
}

}  // namespace beaverpond::cuda::curand
