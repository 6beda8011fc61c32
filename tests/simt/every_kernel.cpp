// Part of a test program that has to run every kernel of a folder: when its cases have ended, each
// __global__ function in the folder's sources, and each functor that one of them is made for
// (structs whose names end in Element or Operand), must have run. Asked for by SIMT_EVERY_KERNEL_OF
// in the environment, which names the folder, so that single cases can be run alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "simt/run.h"

namespace {

bool in_name(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

/// Whether `name` stands in `text` as a word of its own.
bool has_word(const std::string& text, const std::string& name) {
  for (std::size_t at = 0; (at = text.find(name, at)) != std::string::npos; ++at) {
    const std::size_t end = at + name.size();
    if ((at == 0 || !in_name(text[at - 1])) && (end == text.size() || !in_name(text[end]))) {
      return true;
    }
  }
  return false;
}

/// The name that begins at `at`, behind blanks.
std::string name_at(const std::string& text, std::size_t& at) {
  while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at])) != 0) ++at;
  const std::size_t begin = at;
  while (at < text.size() && in_name(text[at])) ++at;
  return text.substr(begin, at - begin);
}

std::vector<std::string> names_in(const std::filesystem::path& source) {
  std::ostringstream read;
  read << std::ifstream(source).rdbuf();
  const std::string text = read.str();
  std::vector<std::string> names;
  for (std::size_t at = 0; (at = text.find("__global__", at)) != std::string::npos;) {
    at += std::string_view("__global__").size();
    EXPECT_EQ(name_at(text, at), "void") << source << ": a kernel that this cannot read";
    std::string name = name_at(text, at);
    if (name == "__launch_bounds__") {
      at = text.find(')', at) + 1;
      name = name_at(text, at);
    }
    EXPECT_FALSE(name.empty() || text[at] != '(') << source << ": a kernel that this cannot read";
    names.push_back(name);
  }
  for (std::size_t at = 0; (at = text.find("struct ", at)) != std::string::npos;) {
    at += std::string_view("struct ").size();
    const std::string name = name_at(text, at);
    if (name.ends_with("Element") || name.ends_with("Operand")) names.push_back(name);
  }
  return names;
}

class EveryKernel : public ::testing::Environment {
  void TearDown() override {
    const char* const folder = std::getenv("SIMT_EVERY_KERNEL_OF");
    if (folder == nullptr) return;
    const std::vector<std::string> run = simt::kernels_run();
    std::size_t kernels = 0;
    for (const auto& file : std::filesystem::directory_iterator(folder)) {
      const std::string extension = file.path().extension();
      if (extension != ".cuh" && extension != ".cu") continue;
      for (const std::string& name : names_in(file.path())) {
        ++kernels;
        EXPECT_TRUE(std::any_of(run.begin(), run.end(),
                                [&](const std::string& ran) { return has_word(ran, name); }))
            << "no case ran " << name << " of " << file.path().filename()
            << ": add one, with a small shape if it is for ThreadSanitizer";
      }
    }
    EXPECT_GT(kernels, 0u) << "no kernels in " << folder;
    std::printf("%zu kernels and functors looked for in %s\n", kernels, folder);
  }
};

[[maybe_unused]] const ::testing::Environment* const added =
    ::testing::AddGlobalTestEnvironment(new EveryKernel);

}  // namespace
