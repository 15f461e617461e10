// Kernels of the logistic function: one thread computes four elements at a time.
#pragma once

#include "elementwise.cuh"

namespace drml {
namespace cuda {

// y may be x. A large negative x makes expf(-x) infinite and y exactly 0, as it should.
__global__ void sigmoid_forward_kernel(int64_t n, const float* x, float* y) {
  for_each_element(n, [](float in, float& out) { out = 1.0f / (1.0f + expf(-in)); }, x, y);
}

// dx may be dy.
__global__ void sigmoid_backward_kernel(int64_t n, const float* y, const float* dy, float* dx) {
  for_each_element(
      n, [](float out, float dout, float& din) { din = dout * out * (1.0f - out); }, y, dy, dx);
}

}  // namespace cuda
}  // namespace drml
