// Kernels of Eltwise: one thread combines one element of several arrays at a time.
#pragma once

#include "elementwise.cuh"

namespace drml {
namespace cuda {

constexpr int kMaxInputs = 16;

// The inputs of one launch. Further ones go to further launches, which start from what the last
// one left.
struct EltwiseInputs {
  int count;
  const float* x[kMaxInputs];
  float coeff[kMaxInputs];
};

// y = start + sum of coeff * x; without start, the sum alone.
__global__ void eltwise_sum_kernel(EltwiseInputs in, int64_t n, const float* start, float* y) {
  DRML_GRID_LOOP(i, n) {
    float sum = start == nullptr ? 0 : start[i];
    for (int k = 0; k < in.count; ++k) sum += in.coeff[k] * in.x[k][i];
    y[i] = sum;
  }
}

// y = start * product of x.
__global__ void eltwise_product_kernel(EltwiseInputs in, int64_t n, const float* start, float* y) {
  DRML_GRID_LOOP(i, n) {
    float product = start[i];
    for (int k = 0; k < in.count; ++k) product *= in.x[k][i];
    y[i] = product;
  }
}

// dx = y / x * dy. One thread computes four elements at a time.
__global__ void eltwise_quotient_kernel(int64_t n, const float* y, const float* x, const float* dy,
                                        float* dx) {
  for_each_element(
      n, [](float out, float in, float dout, float& din) { din = out / in * dout; }, y, x, dy, dx);
}

// y = maximum of start and x.
__global__ void eltwise_max_kernel(EltwiseInputs in, int64_t n, const float* start, float* y) {
  DRML_GRID_LOOP(i, n) {
    float greatest = start[i];
    for (int k = 0; k < in.count; ++k) {
      const float value = in.x[k][i];
      if (value > greatest) greatest = value;
    }
    y[i] = greatest;
  }
}

// dx = start where input `index`, x, holds the maximum, else 0. in.x[k] is input first + k; of
// equal inputs the first one holds the maximum, and NaN holds it only in input 0.
__global__ void eltwise_max_gradient_kernel(EltwiseInputs in, int64_t n, int64_t first,
                                            int64_t index, const float* x, const float* start,
                                            float* dx) {
  DRML_GRID_LOOP(i, n) {
    const float value = x[i];
    bool holds = true;
    for (int k = 0; k < in.count; ++k) {
      const float other = in.x[k][i];
      const int64_t number = first + k;
      if (number > index) {
        holds = holds && !(other > value);
      } else if (number < index) {
        holds = holds && (number == 0 ? value > other : !(other >= value));
      }
    }
    dx[i] = holds ? start[i] : 0;
  }
}

}  // namespace cuda
}  // namespace drml
