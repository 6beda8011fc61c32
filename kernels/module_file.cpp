#include "kernels/module_file.h"

#include <dlfcn.h>
#include <elf.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace beaverpond {
namespace {

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

/// Whether the file has its end, where ELF keeps the section headers. dlopen does not look, and a
/// program that runs into the missing part of a library ends with SIGBUS.
bool is_whole(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = file.tellg();
  Elf64_Ehdr header{};
  file.seekg(0);
  if (!file.read(reinterpret_cast<char*>(&header), sizeof(header))) return false;
  return std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
         header.e_shoff + std::uint64_t{header.e_shnum} * header.e_shentsize <=
             static_cast<std::uint64_t>(size);
}

}  // namespace

std::array<std::string, 3> module_paths(const ModuleKind& kind) {
  std::error_code ignored;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const std::filesystem::path folder = program.parent_path();
  return {folder / kind.file, folder.parent_path() / "lib" / kind.file, kind.file};
}

Result<void> load_module_blocking(const ModuleKind& kind, std::span<const std::string> paths,
                                  const AcceptModule& accept) {
  const std::string cannot = std::string("cannot load the ") + kind.name + ": ";
  for (const std::string& path : paths) {
    std::error_code ignored;
    const bool is_file = path.find('/') != std::string::npos;
    if (is_file && !std::filesystem::exists(path, ignored)) continue;
    if (is_file && !is_whole(path)) {
      return make_error(kind.code, cannot + path + " is damaged" + kind.remedy);
    }
    // RTLD_LOCAL: its copies of our own functions stay its own.
    void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      const char* const reason = dlerror();
      const std::string text = one_line(reason == nullptr ? "no reason given" : reason);
      // The system's words for a file that is nowhere name it first; any other file is a part of
      // it that is missing.
      if (!is_file && text.starts_with(path + ": cannot open shared object file")) continue;
      return make_error(kind.code, cannot + text + kind.remedy);
    }
    void* const entry = dlsym(library, kind.entry);
    Result<void> accepted =
        entry != nullptr ? accept(entry, path)
                         : make_error(kind.code, path + " is not a module of Beaverpond: no " +
                                                     kind.entry + kind.remedy);
    if (!accepted.ok()) dlclose(library);
    return accepted;
  }
  return make_error(kind.code, std::string("no ") + kind.name + " (" + kind.file +
                                   ") is installed" + kind.remedy);
}

Error another_version(const ModuleKind& kind, const std::string& path, const std::string& which) {
  return make_error(kind.code, path + " is another version's module" + which + kind.remedy);
}

}  // namespace beaverpond
