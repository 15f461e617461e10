// Kernels of half the squared distance of two arrays.
#pragma once

#include "loss.cuh"
#include "strided.cuh"

namespace drml {
namespace cuda {

// As many numbers in both arrays, in the order of their axes.
struct EuclideanPairs {
  int64_t size;
  Strided<1> x;
  Strided<1> label;
};

// All threads add up the squares of the differences.
__global__ void __launch_bounds__(kLossThreads)
    euclidean_loss_forward_kernel(EuclideanPairs pairs, const float* __restrict__ x,
                                  const float* __restrict__ label, LossDivisor divisor,
                                  LossOutput out) {
  double sum = 0;
  DRML_GRID_LOOP(i, pairs.size) {
    const double difference = x[pairs.x.place(i)] - label[pairs.label.place(i)];
    sum += difference * difference;
  }
  store_loss(sum, divisor, out);
}

// One thread per pair; dx and dlabel may be null. `samples` is what the loss was divided by.
__global__ void euclidean_loss_backward_kernel(EuclideanPairs pairs, const float* __restrict__ x,
                                               const float* __restrict__ label, float samples,
                                               const float* __restrict__ dy, float* __restrict__ dx,
                                               float* __restrict__ dlabel) {
  const float scale = *dy / samples;
  DRML_GRID_LOOP(i, pairs.size) {
    const int64_t x_at = pairs.x.place(i);
    const int64_t label_at = pairs.label.place(i);
    const float gradient = (x[x_at] - label[label_at]) * scale;
    if (dx != nullptr) dx[x_at] = gradient;
    if (dlabel != nullptr) dlabel[label_at] = -gradient;
  }
}

}  // namespace cuda
}  // namespace drml
