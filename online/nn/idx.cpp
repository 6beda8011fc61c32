#include "online/nn/idx.h"

#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "offline/plan/file.h"

namespace beaverpond {
namespace {

constexpr std::uint32_t kImageMagic = 0x00000803;
constexpr std::uint32_t kLabelMagic = 0x00000801;
// Far above any data set in this format; a larger header is a damaged one.
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 33;
constexpr std::size_t kChunkBytes = std::size_t{1} << 24;

Error idx_error(ErrorCode code, const std::string& path, std::uint64_t offset,
                const std::string& expected, const std::string& found) {
  return make_error(code, path + ": offset " + std::to_string(offset) + ": expected " + expected +
                              ", found " + found);
}

std::string hex(std::uint32_t value) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "0x%08x", value);
  return text.data();
}

// A file read from its beginning through zlib, which passes plain files on as they are.
class GzFile {
 public:
  explicit GzFile(std::string path) : path_(std::move(path)) {}
  GzFile(const GzFile&) = delete;  // owns the handle
  GzFile& operator=(const GzFile&) = delete;
  ~GzFile() {
    if (file_ != nullptr) gzclose(file_);
  }

  Result<void> open() {
    const Result<int> descriptor = open_regular_file(path_);
    if (!descriptor.ok()) {
      std::string message = descriptor.error().message;
      if (::access(path_.c_str(), F_OK) != 0) {
        message +=
            "; Fashion-MNIST comes with Debian's package dataset-fashion-mnist, in "
            "/usr/share/datasets/fashion-mnist";
      }
      return make_error(ErrorCode::kIo, message);
    }
    file_ = gzdopen(*descriptor, "rb");
    if (file_ != nullptr) return {};
    ::close(*descriptor);
    return make_error(ErrorCode::kOutOfMemory, path_ + ": no memory to read it");
  }

  // Reads exactly `size` bytes; a shorter file is an error that says how much is missing.
  Result<std::vector<std::uint8_t>> read(std::uint64_t size, const char* what) {
    std::vector<std::uint8_t> bytes;
    // Grown chunk by chunk: a header that lies about its sizes must not cost gigabytes.
    while (bytes.size() < size) {
      const std::size_t have = bytes.size();
      const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(kChunkBytes, size - have));
      bytes.resize(have + want);
      const int got = gzread(file_, bytes.data() + have, static_cast<unsigned>(want));
      int status = Z_OK;
      const char* reason = gzerror(file_, &status);
      if (got < 0 || (status != Z_OK && status != Z_BUF_ERROR)) {
        const bool damaged = status != Z_ERRNO;
        return idx_error(damaged ? ErrorCode::kConfig : ErrorCode::kIo, path_, offset_ + have, what,
                         std::string("a read error: ") + (damaged ? reason : std::strerror(errno)));
      }
      if (static_cast<std::size_t>(got) < want) {
        return idx_error(ErrorCode::kConfig, path_, offset_,
                         std::to_string(size) + " bytes of " + what,
                         std::to_string(have + static_cast<std::size_t>(got)) +
                             " (the file is truncated; fetch it again)");
      }
    }
    offset_ += size;
    return bytes;
  }

  Result<std::uint32_t> read_u32(const char* what) {
    BP_ASSIGN(const std::vector<std::uint8_t> b, read(4, what));
    return std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 | b[3];
  }

  Result<void> check_end() {
    std::uint8_t byte = 0;
    const int got = gzread(file_, &byte, 1);
    if (got == 0) return {};
    return idx_error(ErrorCode::kConfig, path_, offset_, "the end of the file",
                     got < 0 ? "a read error" : "more bytes");
  }

  Result<void> check_magic(std::uint32_t expected, const char* kind) {
    BP_ASSIGN(const std::uint32_t magic, read_u32("magic number"));
    if (magic == expected) return {};
    std::string found = hex(magic);
    if (magic == kImageMagic) found += " (an image file)";
    if (magic == kLabelMagic) found += " (a label file)";
    return idx_error(ErrorCode::kConfig, path_, 0,
                     "magic number " + hex(expected) + " of an IDX " + kind + " file", found);
  }

  std::uint64_t offset() const { return offset_; }

 private:
  std::string path_;
  gzFile file_ = nullptr;
  std::uint64_t offset_ = 0;
};

}  // namespace

Result<Samples> read_idx_images(const std::string& path) {
  GzFile file(path);
  BP_TRY(file.open());
  BP_TRY(file.check_magic(kImageMagic, "image"));
  Samples images;
  BP_ASSIGN(images.count, file.read_u32("image count"));
  BP_ASSIGN(images.height, file.read_u32("image height"));
  BP_ASSIGN(images.width, file.read_u32("image width"));
  const std::uint64_t size = images.image_size();
  if (images.count == 0 || size == 0 || size > kMaxBytes / images.count) {
    return idx_error(ErrorCode::kConfig, path, 4, "positive sizes of at most 8 GiB in all",
                     std::to_string(images.count) + " images of " + std::to_string(images.height) +
                         "x" + std::to_string(images.width));
  }
  BP_ASSIGN(images.pixels, file.read(images.count * size, "pixels"));
  BP_TRY(file.check_end());
  return images;
}

Result<std::vector<std::uint8_t>> read_idx_labels(const std::string& path, std::uint32_t classes) {
  GzFile file(path);
  BP_TRY(file.open());
  BP_TRY(file.check_magic(kLabelMagic, "label"));
  BP_ASSIGN(const std::uint32_t count, file.read_u32("label count"));
  if (count == 0) return idx_error(ErrorCode::kConfig, path, 4, "a positive label count", "0");
  const std::uint64_t start = file.offset();
  BP_ASSIGN(std::vector<std::uint8_t> labels, file.read(count, "labels"));
  BP_TRY(file.check_end());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= classes) {
      return idx_error(ErrorCode::kConfig, path, start + i,
                       "a label below " + std::to_string(classes) + " (the model's classes)",
                       std::to_string(labels[i]));
    }
  }
  return labels;
}

}  // namespace beaverpond
