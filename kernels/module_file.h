// Shared libraries that the programs do without: found, judged and loaded when one asks for them.
#pragma once

#include <array>
#include <functional>
#include <span>
#include <string>

#include "beaverpond/result.h"

namespace beaverpond {

/// What a module is called, and what its absence or damage means to the user.
struct ModuleKind {
  const char* name = "";   ///< for messages: "CUDA module"
  const char* file = "";   ///< "libbeaverpond_cuda.so"
  const char* entry = "";  ///< the one function that it exports
  ErrorCode code = ErrorCode::kConfig;
  const char* remedy = "";  ///< ends every error: "; install .."
};

/// Calls the module's entry and keeps what it offers; an error refuses the module.
using AcceptModule = std::function<Result<void>(void* entry, const std::string& path)>;

/// Beside the program, in ../lib, else where the system looks.
std::array<std::string, 3> module_paths(const ModuleKind& kind);

/// Loads the first of `paths` that is there, which decides: with a slash a file, which may be
/// absent; without, as the system looks. An accepted module is never unloaded. Errors: kind.code
/// (none is there; a file that is no library or has lost its end; one that misses another; one
/// without the entry), in one line; those of `accept`.
Result<void> load_module_blocking(const ModuleKind& kind, std::span<const std::string> paths,
                                  const AcceptModule& accept);

/// An error of `accept`: the module is another version's. `which`: more about it, or nothing.
Error another_version(const ModuleKind& kind, const std::string& path, const std::string& which);

}  // namespace beaverpond
