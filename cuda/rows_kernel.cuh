// Sums of rows in a fixed order.
#pragma once

#include "portable.h"

namespace drml {
namespace cuda {

// sum += the sum of the rows, in their order: one thread for one column.
__global__ void add_rows_kernel(int64_t rows, int64_t length, const float* __restrict__ x,
                                float* __restrict__ sum) {
  DRML_GRID_LOOP(i, length) {
    float total = 0;
    for (int64_t row = 0; row < rows; ++row) total += x[row * length + i];
    sum[i] += total;
  }
}

}  // namespace cuda
}  // namespace drml
