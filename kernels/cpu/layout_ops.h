// Moving elements: windows, rows, transposition. Memory passes of the CPU backend.
#pragma once

#include "kernels/backend.h"

namespace beaverpond::cpu {

void transpose(std::uint64_t m, std::uint64_t n, ConstWords x, Words out);
void rows(std::uint64_t row_words, std::uint64_t begin, std::uint64_t step, ConstWords x,
          Words out);
void spread_rows(std::uint64_t row_words, std::uint64_t begin, std::uint64_t step, ConstWords x,
                 Words out);
void window(const Pool2dShape& shape, ConstWords x, Words out);
void window_grad(const Pool2dShape& shape, ConstWords x, Words out);

}  // namespace beaverpond::cpu
