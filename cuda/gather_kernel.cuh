// Kernels that choose rows by their numbers, and add to them backward. Backward, the first of equal
// numbers in the index gathers for all of them: no two threads write to one place, and the sum's
// order is that of the index.
#pragma once

#include "fault.cuh"
#include "strided.cuh"

namespace drml {
namespace cuda {

struct GatherSizes {
  int64_t rows, chosen, length;
  Strided<1> index;  // where its numbers lie
};

__device__ inline bool is_row(float number, int64_t rows) {
  return number >= 0 && number < static_cast<float>(rows) && number == floorf(number);
}

// One thread copies one number; of a wrong row it makes zeros.
__global__ void gather_forward_kernel(GatherSizes s, const float* __restrict__ x,
                                      const float* __restrict__ index, float* __restrict__ y,
                                      uint64_t* fault) {
  DRML_GRID_LOOP(i, s.chosen * s.length) {
    const int64_t position = i / s.length;
    const int64_t column = i - position * s.length;
    const float number = index[s.index.place(position)];
    const bool right = is_row(number, s.rows);
    if (!right && column == 0) report_fault(fault, position, number);
    y[i] = right ? x[static_cast<int64_t>(number) * s.length + column] : 0.0f;
  }
}

// One thread adds to one number of a row what all that chose the row have for it.
__global__ void gather_backward_kernel(GatherSizes s, const float* __restrict__ dy,
                                       const float* __restrict__ index, float* __restrict__ dx,
                                       uint64_t* fault) {
  DRML_GRID_LOOP(i, s.chosen * s.length) {
    const int64_t position = i / s.length;
    const int64_t column = i - position * s.length;
    const float number = index[s.index.place(position)];
    if (!is_row(number, s.rows)) {
      if (column == 0) report_fault(fault, position, number);
      continue;
    }
    int64_t earlier = 0;
    while (earlier < position && index[s.index.place(earlier)] != number) ++earlier;
    if (earlier < position) continue;
    float* to = dx + static_cast<int64_t>(number) * s.length + column;
    float sum = *to;
    for (int64_t later = position; later < s.chosen; ++later) {
      if (index[s.index.place(later)] == number) sum += dy[later * s.length + column];
    }
    *to = sum;
  }
}

}  // namespace cuda
}  // namespace drml
