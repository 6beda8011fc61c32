// Which kernels a process ran, by name.
#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdlib>
#include <mutex>
#include <set>

#include "simt/run.h"

namespace simt {
namespace {

struct Noted {
  std::mutex mutex;
  std::set<const void*> kernels;
};
Noted& noted() {
  static Noted* const instance = new Noted;  // kernels may run while the program ends
  return *instance;
}

std::string demangled(const char* name) {
  int status = 0;
  char* const text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = text == nullptr ? name : text;
  std::free(text);
  return result;
}

}  // namespace

void note_kernel(const void* kernel) {
  Noted& here = noted();
  const std::lock_guard lock(here.mutex);
  here.kernels.insert(kernel);
}

std::vector<std::string> kernels_run() {
  Noted& here = noted();
  const std::lock_guard lock(here.mutex);
  std::vector<std::string> names;
  for (const void* const kernel : here.kernels) {
    Dl_info info{};
    if (dladdr(kernel, &info) != 0 && info.dli_saddr == kernel && info.dli_sname != nullptr) {
      names.push_back(demangled(info.dli_sname));
    }
  }
  return names;
}

}  // namespace simt
