#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "offline/plan/file.h"
#include "online/cli/commands.h"
#include "online/cli/made_up_data.h"
#include "online/nn/npy.h"

namespace beaverpond {
namespace {

// What the readers of data files take (online/nn).
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 33;
constexpr std::uint64_t kMaxMeans = std::uint64_t{1} << 28;
constexpr std::uint64_t kChunkBytes = std::uint64_t{1} << 24;

Error config_error(const std::string& message) {
  return make_error(ErrorCode::kConfig, message);
}

/// A file that was not there before; gone again unless it was finished. Owns.
class NewFile {
 public:
  /// Errors: kConfig where the file exists, kIo.
  static Result<NewFile> create(const std::string& path) {
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0) return NewFile(path, descriptor);
    if (errno == EEXIST) {
      return config_error("synthesize: " + path +
                          " exists and is not replaced; choose another --out, or remove it");
    }
    return make_error(ErrorCode::kIo, path + ": " + std::strerror(errno));
  }
  NewFile(NewFile&& other) noexcept
      : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}
  NewFile& operator=(NewFile&&) = delete;  // nobody needs it
  ~NewFile() {
    if (descriptor_ < 0) return;
    ::close(descriptor_);
    ::unlink(path_.c_str());
  }

  const std::string& path() const { return path_; }

  /// Errors: kNoSpace, kIo.
  Result<void> write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t done = ::write(descriptor_, bytes.data(), bytes.size());
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) {
        return make_error(errno == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kIo,
                          path_ + ": " + std::strerror(errno));
      }
      bytes.remove_prefix(static_cast<std::size_t>(done));
    }
    return {};
  }
  Result<void> write(const std::vector<std::uint8_t>& bytes) {
    return write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  /// It stays. Errors: kIo, kNoSpace.
  Result<void> finish() {
    if (::close(std::exchange(descriptor_, -1)) == 0) return {};
    const int failure = errno;
    ::unlink(path_.c_str());
    return make_error(failure == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kIo,
                      path_ + ": " + std::strerror(failure));
  }

 private:
  NewFile(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::string path_;
  int descriptor_;
};

/// "28x28x1".
Result<MadeUpShape> parse_shape(const std::string& text) {
  std::array<std::uint32_t, 3> sizes{};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto [next, error] = std::from_chars(at, end, sizes[i]);
    const bool last = i + 1 == sizes.size();
    const bool right = error == std::errc() && sizes[i] > 0 && sizes[i] <= 65535 &&
                       (last ? next == end : next != end && *next == 'x');
    if (!right) {
      return config_error("synthesize: '" + text +
                          "' is no shape; write --shape HEIGHTxWIDTHxCHANNELS, as 28x28x1");
    }
    at = next + (last ? 0 : 1);
  }
  return MadeUpShape{.height = sizes[0], .width = sizes[1], .channels = sizes[2]};
}

Result<void> check_sizes(const MadeUpShape& shape, std::uint64_t images) {
  if (shape.classes < 2 || shape.classes > 256) {
    return config_error(
        "synthesize: --classes is 2 to 256, the classes that a label file can name");
  }
  const std::uint64_t size = shape.image_size();
  if (images == 0 || images > UINT32_MAX || size > kMaxFileBytes / images ||
      size > kMaxMeans / shape.classes) {
    return config_error("synthesize: " + std::to_string(images) + " images of " +
                        std::to_string(size) +
                        " bytes: give at least 1, and at most 8 GiB in a file and 256 MiB in an "
                        "image of every class");
  }
  return {};
}

std::string big_endian(std::uint32_t word) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(word >> shift);
  return bytes;
}

/// IDX, as MNIST has it, knows no channels.
std::string image_file(const MadeUpShape& shape) {
  return shape.channels == 1 ? "-images-idx3-ubyte" : "-images.npy";
}

std::string image_header(const MadeUpShape& shape, std::uint32_t images) {
  if (shape.channels == 1) {
    return big_endian(0x803) + big_endian(images) + big_endian(shape.height) +
           big_endian(shape.width);
  }
  return npy_header("|u1", {images, shape.height, shape.width, shape.channels});
}

struct Part {
  MadeUpPart part;
  std::uint32_t images;
  NewFile image_file;
  NewFile label_file;
};

Result<Part> create_part(const std::string& name, MadeUpPart part, std::uint64_t images,
                         const MadeUpShape& shape) {
  BP_ASSIGN(NewFile image_data, NewFile::create(name + image_file(shape)));
  BP_ASSIGN(NewFile label_data, NewFile::create(name + "-labels-idx1-ubyte"));
  return Part{part, static_cast<std::uint32_t>(images), std::move(image_data),
              std::move(label_data)};
}

Result<void> write_part(Part& part, const MadeUpShape& shape, MadeUpData& data) {
  BP_TRY(check_room(part.image_file.path(), part.images * (shape.image_size() + 1)));
  BP_TRY(part.image_file.write(image_header(shape, part.images)));
  BP_TRY(part.label_file.write(big_endian(0x801) + big_endian(part.images)));
  const std::uint64_t chunk = std::max<std::uint64_t>(1, kChunkBytes / shape.image_size());
  std::vector<std::uint8_t> pixels;
  std::vector<std::uint8_t> labels;
  for (std::uint64_t first = 0; first < part.images; first += chunk) {
    labels.resize(std::min<std::uint64_t>(chunk, part.images - first));
    pixels.resize(labels.size() * shape.image_size());
    BP_TRY(data.draw(part.part, first, pixels, labels));
    BP_TRY(part.image_file.write(pixels));
    BP_TRY(part.label_file.write(labels));
  }
  return {};
}

}  // namespace

Result<void> run_synthesize(const SynthesizeCommand& options) {
  BP_ASSIGN(MadeUpShape shape, parse_shape(options.shape));
  shape.classes = options.classes;
  const std::uint64_t tests = options.test_images.value_or((options.images + 5) / 6);
  BP_TRY(check_sizes(shape, options.images));
  BP_TRY(check_sizes(shape, tests));
  BP_ASSIGN(const SyntheticSource source, SyntheticSource::open(options.device));
  BP_ASSIGN(MadeUpData data, MadeUpData::create(shape, options.seed, source));

  std::error_code failure;
  std::filesystem::create_directories(options.folder, failure);
  if (failure) return make_error(ErrorCode::kIo, options.folder + ": " + failure.message());
  BP_ASSIGN(Part training,
            create_part(options.folder + "/train", MadeUpPart::kTraining, options.images, shape));
  BP_ASSIGN(Part test, create_part(options.folder + "/test", MadeUpPart::kTest, tests, shape));
  for (Part* const part : {&training, &test}) BP_TRY(write_part(*part, shape, data));
  for (Part* const part : {&training, &test}) {
    BP_TRY(part->image_file.finish());
    BP_TRY(part->label_file.finish());
  }
  std::fprintf(stderr, "made by %s\n", source.line().c_str());
  std::printf("%u images for training, %u for testing: %s, %u classes. For [data] of a job:\n",
              training.images, test.images, options.shape.c_str(), shape.classes);
  std::printf("test_images = \"%s\"\ntest_labels = \"%s\"\n", test.image_file.path().c_str(),
              test.label_file.path().c_str());
  std::printf("train_images = \"%s\"\ntrain_labels = \"%s\"\n", training.image_file.path().c_str(),
              training.label_file.path().c_str());
  return {};
}

}  // namespace beaverpond
