#include "tests/fake_cuda/cublaslt/standin.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "fake_cuda/queue.h"

namespace beaverpond::cuda::cublaslt {

struct HandleTag {};
struct DescTag {
  bool transposed = false;
};
struct LayoutTag {
  DataType type = DataType::kInt8;
  std::uint64_t rows = 0;
  std::uint64_t columns = 0;
  std::int64_t leading = 0;
  std::int32_t count = 1;
  std::int64_t stride = 0;
};

namespace {

bool installed = true;
int made = 0;
int fails_in = 0;

void require(bool kept, const char* rule) {
  if (kept) return;
  std::fprintf(stderr, "cuBLASLt's stand-in: %s\n", rule);
  std::abort();
}

std::size_t size_of(const LayoutTag& layout) {
  const std::uint64_t one =
      (layout.columns - 1) * static_cast<std::uint64_t>(layout.leading) + layout.rows;
  return static_cast<std::size_t>(layout.count - 1) * static_cast<std::size_t>(layout.stride) + one;
}

Status create(Handle* handle) {
  *handle = new HandleTag;
  return Status::kSuccess;
}
Status destroy(Handle handle) {
  delete handle;
  return Status::kSuccess;
}
const char* get_status_name(Status status) {
  return status == Status::kExecutionFailed ? "CUBLAS_STATUS_EXECUTION_FAILED" : "another status";
}
Status desc_create(Desc* desc, ComputeType compute, DataType scale) {
  require(compute == ComputeType::k32I && scale == DataType::kInt32, "sums of 32 bits");
  *desc = new DescTag;
  return Status::kSuccess;
}
Status desc_destroy(Desc desc) {
  delete desc;
  return Status::kSuccess;
}
Status desc_set(Desc desc, DescAttribute attribute, const void* value, std::size_t size) {
  require(attribute == DescAttribute::kTransA && size == 4, "the one attribute of a product");
  std::int32_t given = 0;
  std::memcpy(&given, value, size);
  desc->transposed = given == kTransposed;
  return Status::kSuccess;
}
Status layout_create(Layout* layout, DataType type, std::uint64_t rows, std::uint64_t columns,
                     std::int64_t leading) {
  *layout = new LayoutTag{type, rows, columns, leading};
  return Status::kSuccess;
}
Status layout_destroy(Layout layout) {
  delete layout;
  return Status::kSuccess;
}
Status layout_set(Layout layout, LayoutAttribute attribute, const void* value, std::size_t size) {
  const bool count = attribute == LayoutAttribute::kBatchCount;
  require(size == (count ? 4u : 8u), "an attribute's size");
  std::memcpy(count ? static_cast<void*>(&layout->count) : &layout->stride, value, size);
  return Status::kSuccess;
}

void check(const LayoutTag& layout, const void* memory, std::size_t element, const char* what) {
  require(layout.rows % 4 == 0 && layout.leading % 4 == 0, "rows and pitches by fours");
  require(static_cast<std::uint64_t>(layout.leading) >= layout.rows, "a pitch holds a row");
  require(reinterpret_cast<std::uintptr_t>(memory) % 16 == 0, "aligned matrices");
  fake_cuda::check_device_range(memory, size_of(layout) * element, what);
}

Status matmul(Handle, Desc desc, const void* alpha, const void* a, Layout left, const void* b,
              Layout right, const void* beta, const void* c, Layout, void* d, Layout out,
              const void* algorithm, void* workspace, std::size_t workspace_bytes,
              cudaStream_t stream) {
  std::int32_t one = 0;
  std::int32_t zero = 1;
  std::memcpy(&one, alpha, 4);
  std::memcpy(&zero, beta, 4);
  require(one == 1 && zero == 0 && c == d, "a product that replaces what is there");
  require(algorithm == nullptr && workspace == nullptr && workspace_bytes == 0, "no workspace");
  require(desc->transposed, "bytes only with the left operand transposed");
  require(left->type == DataType::kInt8 && right->type == DataType::kInt8 &&
              out->type == DataType::kInt32,
          "bytes to words of 32 bits");
  require(left->rows == right->rows && out->rows == left->columns && out->columns == right->columns,
          "shapes that fit");
  require(left->count == right->count && out->count == left->count, "as many of each");
  check(*left, a, 1, "a left operand");
  check(*right, b, 1, "a right operand");
  check(*out, d, 4, "a product");
  made += 1;
  if (fails_in > 0 && --fails_in == 0) return Status::kExecutionFailed;
  fake_cuda::Operation operation;
  operation.what = "a product of cuBLASLt's";
  operation.run = [=, l = *left, r = *right, o = *out] {
    for (std::int64_t i = 0; i < l.count; ++i) {
      const auto* const x = static_cast<const std::int8_t*>(a) + i * l.stride;
      const auto* const y = static_cast<const std::int8_t*>(b) + i * r.stride;
      auto* const to = static_cast<std::int32_t*>(d) + i * o.stride;
      for (std::uint64_t column = 0; column < o.columns; ++column) {
        for (std::uint64_t row = 0; row < o.rows; ++row) {
          const std::int8_t* const xs = x + row * static_cast<std::uint64_t>(l.leading);
          const std::int8_t* const ys = y + column * static_cast<std::uint64_t>(r.leading);
          std::int32_t sum = 0;
          for (std::uint64_t k = 0; k < l.rows; ++k) sum += xs[k] * ys[k];
          to[column * static_cast<std::uint64_t>(o.leading) + row] = sum;
        }
      }
    }
  };
  return fake_cuda::enqueue(stream, std::move(operation)) == cudaSuccess ? Status::kSuccess
                                                                         : Status::kExecutionFailed;
}

}  // namespace

Result<const Api*> load() {
  static const Api api{&create,   &destroy,       &get_status_name, &desc_create, &desc_destroy,
                       &desc_set, &layout_create, &layout_destroy,  &layout_set,  &matmul};
  if (installed) return &api;
  return make_error(ErrorCode::kDeviceFailed, "cannot load cuBLASLt: this is the stand-in");
}

}  // namespace beaverpond::cuda::cublaslt

namespace fake_cublaslt {

using namespace beaverpond::cuda::cublaslt;

void reset() {
  installed = true;
  made = fails_in = 0;
}
void install(bool there) {
  installed = there;
}
void fail_product(int nth) {
  fails_in = nth;
}
int products() {
  return made;
}

}  // namespace fake_cublaslt
