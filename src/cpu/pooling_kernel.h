// What pooling.cpp asks of the instruction sets: work on one row of windows.
#pragma once

#include <cstdint>

#include "cpu/simd.h"

namespace drml {

// A map of height x width pixels, channels-last, and the windows over it; pairs are rows, columns.
struct PoolingGeometry {
  int64_t channels;
  int64_t size[2];
  int64_t windows[2];
  int64_t kernel[2];
  int64_t stride[2];
  int64_t pad[2];
};

// The windows of one row lie side by side in y and dy; x and dx are whole maps.
struct PoolingKernels {
  // The greatest number of each window, NaN if it holds one.
  void (*max_forward)(const PoolingGeometry&, int64_t row, const float* x, float* y);
  // The sum of each window, divided by its size before the far border of the padding cuts it.
  void (*ave_forward)(const PoolingGeometry&, int64_t row, const float* x, float* y);
  // Add the gradients of the windows to dx, in its rows from `first` to before `last` only. That
  // of MAX goes to the first greatest number of a window, or to its first NaN.
  void (*max_backward)(const PoolingGeometry&, int64_t row, int64_t first, int64_t last,
                       const float* x, const float* dy, float* dx);
  void (*ave_backward)(const PoolingGeometry&, int64_t row, int64_t first, int64_t last,
                       const float* dy, float* dx);
};

namespace portable {
extern const PoolingKernels pooling_kernels;
}
namespace avx2 {
extern const PoolingKernels pooling_kernels;
}
namespace avx512 {
extern const PoolingKernels pooling_kernels;
}

}  // namespace drml
