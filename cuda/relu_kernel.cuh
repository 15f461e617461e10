// Kernels of ReLU: one thread computes four elements at a time.
#pragma once

#include "elementwise.cuh"

namespace drml {
namespace cuda {

// y may be x. Comparisons are written so that NaN passes through: a net that diverged has to be
// noticed.
__global__ void relu_forward_kernel(int64_t n, const float* x, float* y, float negative_slope) {
  for_each_element(
      n,
      [=](float in, float& out) {
        const float below = negative_slope == 0 ? 0 : negative_slope * in;
        out = in < 0 ? below : in;
      },
      x, y);
}

// dx may be dy.
__global__ void relu_backward_kernel(int64_t n, const float* x, const float* dy, float* dx,
                                     float negative_slope) {
  for_each_element(
      n, [=](float in, float dout, float& din) { din = dout * (in > 0 ? 1.0f : negative_slope); },
      x, dy, dx);
}

}  // namespace cuda
}  // namespace drml
