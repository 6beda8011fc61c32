// A library that is looked for when it is needed, so that the module starts without it.
#pragma once

#include <dlfcn.h>

#include <string>

#include "beaverpond/result.h"

namespace beaverpond::cuda {

/// Opened once, never closed: what it gave stays valid.
class Library {
 public:
  /// `name` and `remedy` are for the errors: "cannot load NAME: .. ; REMEDY". Errors: `code`.
  static Result<Library> open(const char* file, const char* name, ErrorCode code,
                              const char* remedy) {
    void* const handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) return Library(handle, file, code, remedy);
    const char* const why = dlerror();
    return make_error(code, std::string("cannot load ") + name + ": " +
                                (why == nullptr ? file : why) + "; " + remedy);
  }

  /// function := the library's function of that name; what is missing shows at complete().
  template <class Function>
  void fill(Function& function, const char* name) {
    // POSIX: a pointer of dlsym may be turned into a function pointer.
    function = reinterpret_cast<Function>(dlsym(handle_, name));
    if (function == nullptr && missing_.empty()) missing_ = name;
  }
  /// Whether all were there. Errors: that of open(), with the first that was not.
  Result<void> complete() const {
    if (missing_.empty()) return {};
    return make_error(code_, std::string(file_) + " has no " + missing_ + "; " + remedy_);
  }

 private:
  Library(void* handle, const char* file, ErrorCode code, const char* remedy)
      : handle_(handle), file_(file), code_(code), remedy_(remedy) {}

  void* handle_;
  const char* file_;
  ErrorCode code_;
  const char* remedy_;
  std::string missing_;
};

}  // namespace beaverpond::cuda
