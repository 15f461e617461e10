// What few_rows.cpp asks of the instruction sets: a product with some rows of a weight matrix.
#pragma once

#include <cstdint>

#include "cpu/simd.h"

namespace drml {

struct FewRowsKernels {
  // A block is so many rows of x, or twice as many.
  int64_t lanes;

  // y (outputs, block) += weight times x (depth, block), for `outputs` rows of `depth` weights,
  // `stride` numbers from one row to the next.
  void (*multiply)(int64_t block, int64_t outputs, int64_t depth, const float* weight,
                   int64_t stride, const float* x, float* y);
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
