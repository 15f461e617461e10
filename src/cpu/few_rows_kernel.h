// What few_rows.cpp asks of the instruction sets: products with some rows of a weight matrix.
#pragma once

#include <cstdint>

#include "cpu/simd.h"

namespace drml {

// c (rows, width) += transposed a (depth, rows) times b (depth, width), or = if `add` is false.
// Each matrix has contiguous rows, its stride numbers apart.
struct Product {
  int64_t rows;
  int64_t depth;
  int64_t width;
  const float* a;
  int64_t a_stride;
  const float* b;
  int64_t b_stride;
  float* c;
  int64_t c_stride;
  bool add;
};

struct FewRowsKernels {
  // y (outputs) = weight times x (depth), `stride` numbers from one row of weights to the next.
  void (*dot)(int64_t outputs, int64_t depth, const float* weight, int64_t stride, const float* x,
              float* y);

  // A block is so many rows of x, or twice as many.
  int64_t lanes;

  // y (outputs, block) += weight times x (depth, block), for `outputs` rows of `depth` weights,
  // `stride` numbers from one row to the next.
  void (*multiply)(int64_t block, int64_t outputs, int64_t depth, const float* weight,
                   int64_t stride, const float* x, float* y);

  void (*add_product)(const Product&);
};

namespace portable {
extern const FewRowsKernels few_rows_kernels;
}
namespace avx2 {
extern const FewRowsKernels few_rows_kernels;
}
namespace avx512 {
extern const FewRowsKernels few_rows_kernels;
}

}  // namespace drml
