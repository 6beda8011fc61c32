#include "online/nn/weight_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "offline/plan/file.h"
#include "offline/plan/hash.h"

namespace beaverpond {
namespace {

constexpr std::uint32_t kMagic = 0x54575042;  // "BPWT"
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 16;
constexpr std::size_t kTensorHeaderBytes = 24;
static_assert(kTensorHeaderBytes == 8 + 4 * Shape::kMaxRank, "rank, scale and four dimensions");

void put_u32(std::vector<std::uint8_t>& out, std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) {
    out.push_back(static_cast<std::uint8_t>(value >> shift));
  }
}

class Reader {
 public:
  Reader(std::span<const std::uint8_t> bytes, const std::string& name)
      : bytes_(bytes), name_(name) {}

  std::size_t left() const { return bytes_.size() - offset_; }
  std::uint32_t u32() { return static_cast<std::uint32_t>(little_endian(4)); }
  std::uint64_t u64() { return little_endian(8); }

  Error error(const std::string& expected, const std::string& found) const {
    return make_error(ErrorCode::kConfig, name_ + ": offset " + std::to_string(offset_) +
                                              ": expected " + expected + ", found " + found);
  }

 private:
  std::uint64_t little_endian(std::size_t size) {
    BP_CHECK(left() >= size, "the caller checks the length");
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) value |= std::uint64_t{bytes_[offset_ + i]} << (8 * i);
    offset_ += size;
    return value;
  }

  std::span<const std::uint8_t> bytes_;
  const std::string& name_;
  std::size_t offset_ = 0;
};

Result<WeightTensor> decode_tensor(Reader& in) {
  if (in.left() < kTensorHeaderBytes) {
    return in.error("a tensor's header of 24 bytes", std::to_string(in.left()) + " bytes");
  }
  WeightTensor tensor;
  tensor.shape.rank = in.u32();
  const std::uint32_t scale = in.u32();
  std::uint64_t count = 1;
  // Divides instead of multiplying, so that a damaged header cannot overflow.
  const std::uint64_t limit = (in.left() - std::size_t{4} * Shape::kMaxRank) / 8;
  bool good = tensor.shape.rank >= 1 && tensor.shape.rank <= Shape::kMaxRank && scale <= 62;
  for (std::uint32_t i = 0; i < Shape::kMaxRank; ++i) {
    const std::uint32_t dim = in.u32();
    tensor.shape.dims[i] = dim;
    if (i >= tensor.shape.rank) {
      good = good && dim == 0;
    } else if (good && dim != 0 && dim <= limit / count) {
      count *= dim;
    } else {
      good = false;
    }
  }
  if (!good) {
    return in.error("a tensor whose words fit into the file",
                    "rank " + std::to_string(tensor.shape.rank) + ", scale " +
                        std::to_string(scale) + ", " + std::to_string(in.left()) + " bytes left");
  }
  tensor.scale_bits = static_cast<int>(scale);
  tensor.words.resize(count);
  for (std::uint64_t& word : tensor.words) word = in.u64();
  return tensor;
}

Error os_error(const std::string& path, const char* what) {
  const int code = errno;
  const bool full = code == ENOSPC || code == EDQUOT;
  return make_error(full ? ErrorCode::kNoSpace : ErrorCode::kIo,
                    path + ": cannot " + what + ": " + std::strerror(code));
}

}  // namespace

std::vector<std::uint8_t> encode_weights(const std::vector<WeightTensor>& tensors) {
  std::vector<std::uint8_t> out;
  std::size_t size = kHeaderBytes;
  for (const WeightTensor& tensor : tensors) size += kTensorHeaderBytes + 8 * tensor.words.size();
  out.reserve(size);
  put_u32(out, kMagic);
  put_u32(out, kVersion);
  put_u32(out, static_cast<std::uint32_t>(tensors.size()));
  put_u32(out, 0);
  for (const WeightTensor& tensor : tensors) {
    BP_CHECK(tensor.words.size() == tensor.shape.count(), "a tensor fills its shape");
    put_u32(out, tensor.shape.rank);
    put_u32(out, static_cast<std::uint32_t>(tensor.scale_bits));
    for (std::uint32_t i = 0; i < Shape::kMaxRank; ++i) {
      put_u32(out, i < tensor.shape.rank ? tensor.shape.dims[i] : 0);
    }
    for (const std::uint64_t word : tensor.words) {
      put_u32(out, static_cast<std::uint32_t>(word));
      put_u32(out, static_cast<std::uint32_t>(word >> 32));
    }
  }
  BP_CHECK(out.size() == size, "the format's sizes add up");
  return out;
}

Result<std::vector<WeightTensor>> decode_weights(std::span<const std::uint8_t> bytes,
                                                 const std::string& name) {
  Reader in(bytes, name);
  if (in.left() < kHeaderBytes) {
    return in.error("a header of 16 bytes", std::to_string(in.left()) + " bytes");
  }
  if (in.u32() != kMagic) return in.error("a weight file (magic \"BPWT\")", "something else");
  if (const std::uint32_t version = in.u32(); version != kVersion) {
    return in.error("version 1", "version " + std::to_string(version));
  }
  const std::uint32_t count = in.u32();
  if (in.u32() != 0) return in.error("a reserved zero", "another word");
  std::vector<WeightTensor> tensors;
  for (std::uint32_t i = 0; i < count; ++i) {
    BP_ASSIGN(WeightTensor tensor, decode_tensor(in));
    tensors.push_back(std::move(tensor));
  }
  if (in.left() != 0) return in.error("the end", std::to_string(in.left()) + " more bytes");
  return tensors;
}

std::string weights_sha256(const std::vector<WeightTensor>& tensors) {
  return to_hex(sha256(encode_weights(tensors)));
}

Result<void> write_weights(const std::vector<WeightTensor>& tensors, const std::string& path) {
  const std::vector<std::uint8_t> bytes = encode_weights(tensors);
  // Players of one host may be told to write the same file at the same time.
  const std::string partial = path + "." + std::to_string(::getpid()) + ".partial";
  // 0600: weights are the players' secret unless the job says otherwise.
  const int file = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return os_error(partial, "create");
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t wrote = ::write(file, bytes.data() + done, bytes.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      Error error = os_error(partial, "write");
      ::close(file);
      ::unlink(partial.c_str());
      return error;
    }
    done += static_cast<std::size_t>(wrote);
  }
  const bool synced = ::fsync(file) == 0;
  if (!synced || ::close(file) != 0) {
    Error error = os_error(partial, "write");
    if (!synced) ::close(file);
    ::unlink(partial.c_str());
    return error;
  }
  if (::rename(partial.c_str(), path.c_str()) != 0) {
    Error error = os_error(path, "rename to");
    ::unlink(partial.c_str());
    return error;
  }
  return {};
}

Result<std::vector<WeightTensor>> read_weights(const std::string& path) {
  const Result<std::string> bytes = read_small_file(path, std::size_t{1} << 32);
  if (!bytes.ok()) return make_error(bytes.error().code, "weight file: " + bytes.error().message);
  return decode_weights({reinterpret_cast<const std::uint8_t*>(bytes->data()), bytes->size()},
                        path);
}

}  // namespace beaverpond
