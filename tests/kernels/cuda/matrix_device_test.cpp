// Asynchronous copies and matrix instructions (kernels/cuda/device.h), against plain loops that
// follow the PTX manual. Compiled for the emulator and, by nvcc, for a GPU.
#include <gtest/gtest.h>

#include <random>

#include "kernels/cuda/device.h"
#include "tests/kernels/cuda/on_device.h"

namespace beaverpond::cuda {
namespace {

class MatrixDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_device()) GTEST_SKIP() << "no GPU here";
  }
  std::mt19937_64 random_{2};
};

/// Every other thread copies; of 16-byte pieces whose number divides by three there are zeros.
__global__ void copy_with_zeros(const uint4* in, uint4* out) {
  uint4* shared = dynamic_shared<uint4>();
  shared[threadIdx.x] = make_uint4(1, 2, 3, 4);
  __syncthreads();
  if (threadIdx.x % 2 == 0) {
    cp_async_16(shared + threadIdx.x, threadIdx.x % 3 == 0 ? nullptr : in + threadIdx.x,
                threadIdx.x % 3 != 0);
  }
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  out[threadIdx.x] = shared[(threadIdx.x + 1) % blockDim.x];
}

TEST_F(MatrixDevice, CopiesFillWithZeros) {
  Array<uint4> in(128), out(128);
  for (unsigned i = 0; i < 128; ++i) in[i] = make_uint4(i, i + 1000, i + 2000, i + 3000);
  run_kernel(copy_with_zeros, 1, 128, 128 * 16, in.data(), out.data());
  for (unsigned i = 0; i < 128; ++i) {
    const unsigned from = (i + 1) % 128;
    uint4 expected = make_uint4(1, 2, 3, 4);
    if (from % 2 == 0) expected = from % 3 == 0 ? make_uint4(0, 0, 0, 0) : in[from];
    ASSERT_EQ(out[i].x, expected.x) << i;
    ASSERT_EQ(out[i].y, expected.y) << i;
    ASSERT_EQ(out[i].z, expected.z) << i;
    ASSERT_EQ(out[i].w, expected.w) << i;
  }
}

/// A ring of three stages, two copies ahead, as a product's main loop has it. Sums all pieces.
__global__ void sum_through_ring(const uint4* in, unsigned pieces, unsigned* out) {
  constexpr unsigned kStages = 3;
  uint4* shared = dynamic_shared<uint4>();
  unsigned sum = 0;
  for (unsigned piece = 0; piece < kStages - 1; ++piece) {
    if (piece < pieces) {
      cp_async_16(shared + piece * blockDim.x + threadIdx.x, in + piece * blockDim.x + threadIdx.x,
                  true);
    }
    cp_async_commit();
  }
  for (unsigned piece = 0; piece < pieces; ++piece) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    const unsigned next = piece + kStages - 1;
    if (next < pieces) {
      cp_async_16(shared + next % kStages * blockDim.x + threadIdx.x,
                  in + next * blockDim.x + threadIdx.x, true);
    }
    cp_async_commit();
    const uint4 got = shared[piece % kStages * blockDim.x + (threadIdx.x + piece + 1) % blockDim.x];
    sum += got.x + got.y + got.z + got.w;
  }
  cp_async_wait<0>();
  out[threadIdx.x] = sum;
}

TEST_F(MatrixDevice, CopiesArriveGroupByGroup) {
  for (const unsigned pieces : {0u, 1u, 2u, 9u}) {
    Array<uint4> in(pieces * 64 + 1);
    Array<unsigned> out(64);
    for (std::size_t i = 0; i < in.size(); ++i) {
      const auto word = [&] { return static_cast<unsigned>(random_()); };
      in[i] = make_uint4(word(), word(), word(), word());
    }
    run_kernel(sum_through_ring, 1, 64, 3 * 64 * 16, in.data(), pieces, out.data());
    for (unsigned thread = 0; thread < 64; ++thread) {
      unsigned expected = 0;
      for (unsigned piece = 0; piece < pieces; ++piece) {
        const uint4 part = in[piece * 64 + (thread + piece + 1) % 64];
        expected += part.x + part.y + part.z + part.w;
      }
      ASSERT_EQ(out[thread], expected) << pieces << " pieces, thread " << thread;
    }
  }
}

/// Row i of the 32 begins at 16 * place[i].
__global__ void load_rows(const unsigned* rows, const unsigned* place, unsigned* out) {
  unsigned* shared = dynamic_shared<unsigned>();
  for (unsigned i = 0; i < 4; ++i) {
    shared[4 * place[threadIdx.x] + i] = rows[4 * threadIdx.x + i];
  }
  __syncwarp();
  unsigned r[4];
  ldmatrix_x4(r, shared + 4 * place[threadIdx.x]);
  for (unsigned i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = r[i];
}

/// "Each thread holds a fragment of a row: thread 4i + j elements 2j, 2j + 1 of row i"; matrix m's
/// row addresses come from threads 8m to 8m + 7.
TEST_F(MatrixDevice, LoadMatrixSpreadsRows) {
  Array<unsigned> rows(128), place(32), out(128);
  for (unsigned i = 0; i < 128; ++i) rows[i] = i;
  for (unsigned i = 0; i < 32; ++i) place[i] = (11 * i + 5) % 32;
  run_kernel(load_rows, 1, 32, 512, rows.data(), place.data(), out.data());
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    for (unsigned row = 0; row < 8; ++row) {
      for (unsigned word = 0; word < 4; ++word) {
        ASSERT_EQ(out[4 * (4 * row + word) + matrix], rows[4 * (8 * matrix + row) + word]);
      }
    }
  }
}

__global__ void multiply_fragments(bool is_unsigned, const unsigned* a, const unsigned* b, int* d) {
  unsigned of_a[4], of_b[2];
  int of_d[4];
  for (unsigned i = 0; i < 4; ++i) of_a[i] = a[4 * threadIdx.x + i];
  for (unsigned i = 0; i < 2; ++i) of_b[i] = b[2 * threadIdx.x + i];
  for (unsigned i = 0; i < 4; ++i) of_d[i] = d[4 * threadIdx.x + i];
  if (is_unsigned) {
    mma_m16n8k32_u8s8(of_d, of_a, of_b);
  } else {
    mma_m16n8k32_s8(of_d, of_a, of_b);
  }
  for (unsigned i = 0; i < 4; ++i) d[4 * threadIdx.x + i] = of_d[i];
}

/// A tile of bytes from memory to the product as kernels take it: a by rows and b by columns, both
/// 32 bytes a row, through ldmatrix.
__global__ void multiply_tile(const uint4* a, const uint4* b, int* d) {
  uint4* shared = dynamic_shared<uint4>();  // a: 16 rows of 2, then b: 8 rows of 2
  cp_async_16(shared + threadIdx.x, a + threadIdx.x, true);
  if (threadIdx.x < 16) cp_async_16(shared + 32 + threadIdx.x, b + threadIdx.x, true);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  unsigned of_a[4], of_b[4];
  int of_d[4] = {};
  ldmatrix_x4(of_a, shared + threadIdx.x % 16 * 2 + threadIdx.x / 16);
  ldmatrix_x4(of_b, shared + 32 + threadIdx.x % 8 * 2 + threadIdx.x / 8 % 2);
  const unsigned first[2] = {of_b[0], of_b[1]};
  mma_m16n8k32_s8(of_d, of_a, first);
  const unsigned row = threadIdx.x / 4, column = threadIdx.x % 4 * 2;
  for (unsigned i = 0; i < 4; ++i) d[(row + i / 2 * 8) * 8 + column + i % 2] = of_d[i];
}

struct Matrices {
  int a[16][32];
  int b[32][8];
  int d[16][8];
  int product(unsigned row, unsigned column) const {
    int sum = d[row][column];
    for (unsigned k = 0; k < 32; ++k) sum += a[row][k] * b[k][column];
    return sum;
  }
};

Matrices draw(std::mt19937_64& random, bool is_unsigned, bool extreme) {
  Matrices m;
  const auto byte = [&] {
    const int drawn = static_cast<int>(random() % 256) - 128;
    return extreme ? (drawn < 0 ? -128 : 127) : drawn;
  };
  for (auto& row : m.a) {
    for (int& x : row) x = is_unsigned ? byte() + 128 : byte();
  }
  for (auto& row : m.b) {
    for (int& x : row) x = byte();
  }
  for (auto& row : m.d) {
    for (int& x : row) x = static_cast<int>(random() % 2000001) - 1000000;
  }
  return m;
}

/// PTX manual, "Matrix Fragments for mma.m16n8k32", .u8/.s8: groupID = lane >> 2 and
/// threadID_in_group = lane % 4. a: row = groupID for a_i where 0 <= i < 4 || 8 <= i < 12, else
/// groupID + 8; col = threadID_in_group * 4 + (i & 3), + 16 for i >= 8. b: row =
/// threadID_in_group * 4 + (i & 3), + 16 for i >= 4; col = groupID. c and d: row = groupID for
/// i < 2, else groupID + 8; col = threadID_in_group * 2 + (i & 1).
TEST_F(MatrixDevice, MultiplyHasTheManualsFragments) {
  for (int round = 0; round < 8; ++round) {
    const bool is_unsigned = round % 2 == 1;
    const Matrices m = draw(random_, is_unsigned, round >= 6);
    Array<unsigned> a(4 * 32), b(2 * 32);
    Array<int> d(4 * 32);
    const auto put = [](unsigned& word, unsigned i, int value) {
      word |= (static_cast<unsigned>(value) & 255) << (8 * (i & 3));
    };
    for (unsigned lane = 0; lane < 32; ++lane) {
      const unsigned group = lane >> 2, in_group = lane % 4;
      for (unsigned i = 0; i < 16; ++i) {
        const unsigned row = i < 4 || (i >= 8 && i < 12) ? group : group + 8;
        const unsigned column = in_group * 4 + (i & 3) + (i >= 8 ? 16 : 0);
        put(a[4 * lane + i / 4], i, m.a[row][column]);
      }
      for (unsigned i = 0; i < 8; ++i) {
        put(b[2 * lane + i / 4], i, m.b[in_group * 4 + (i & 3) + (i >= 4 ? 16 : 0)][group]);
      }
      for (unsigned i = 0; i < 4; ++i) {
        d[4 * lane + i] = m.d[i < 2 ? group : group + 8][in_group * 2 + (i & 1)];
      }
    }
    run_kernel(multiply_fragments, 1, 32, 0, is_unsigned, a.data(), b.data(), d.data());
    for (unsigned lane = 0; lane < 32; ++lane) {
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned row = i < 2 ? lane >> 2 : (lane >> 2) + 8;
        ASSERT_EQ(d[4 * lane + i], m.product(row, lane % 4 * 2 + (i & 1)))
            << "round " << round << ", lane " << lane << ", element " << i;
      }
    }
  }
}

TEST_F(MatrixDevice, LoadedTilesMultiply) {
  Matrices m = draw(random_, false, false);
  for (auto& row : m.d) {
    for (int& x : row) x = 0;
  }
  Array<uint4> a(32), b(16);
  Array<int> d(16 * 8);
  auto* const bytes_of_a = reinterpret_cast<signed char*>(&a[0]);
  auto* const bytes_of_b = reinterpret_cast<signed char*>(&b[0]);
  for (unsigned k = 0; k < 32; ++k) {
    for (unsigned row = 0; row < 16; ++row) {
      bytes_of_a[row * 32 + k] = static_cast<signed char>(m.a[row][k]);
    }
    for (unsigned column = 0; column < 8; ++column) {
      bytes_of_b[column * 32 + k] = static_cast<signed char>(m.b[k][column]);
    }
  }
  run_kernel(multiply_tile, 1, 32, 48 * 16, a.data(), b.data(), d.data());
  for (unsigned i = 0; i < 128; ++i) ASSERT_EQ(d[i], m.product(i / 8, i % 8)) << i;
}

}  // namespace
}  // namespace beaverpond::cuda
