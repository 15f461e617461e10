// Kernels of the paper's loss over action units (section 3.3).
#pragma once

#include "fault.cuh"
#include "loss.cuh"
#include "multi_sigmoid_cross_entropy_loss_rule.h"
#include "strided.cuh"

namespace drml {
namespace cuda {

// As many logits as labels, in the order of their axes.
struct MultiSigmoidPairs {
  int64_t size;
  Strided<1> x;
  Strided<1> label;
  LabelWeights weights;
};

// 1 present, -1 absent, 0 unknown. Another label is reported, and then counts as unknown.
__device__ inline float read_occurrence(const float* label, int64_t place, int64_t index,
                                        uint64_t* fault) {
  const float value = label[place];
  if (value == 1 || value == -1 || value == 0) return value;
  report_fault(fault, index, value);
  return 0;
}

// All threads add up the terms of the pairs; one block is enough for any batch of faces.
__global__ void __launch_bounds__(kLossThreads) multi_sigmoid_cross_entropy_loss_forward_kernel(
    MultiSigmoidPairs pairs, const float* __restrict__ x, const float* __restrict__ label,
    uint64_t* fault, LossDivisor divisor, LossOutput out) {
  double sum = 0;
  DRML_GRID_LOOP(i, pairs.size) {
    const float sign = read_occurrence(label, pairs.label.place(i), i, fault);
    if (sign == 0) continue;
    // -log(sigmoid(z)) = log(1 + e^-z), without a large exponential.
    const float z = sign * x[pairs.x.place(i)];
    const float term = fmaxf(-z, 0.0f) + log1pf(expf(-fabsf(z)));
    sum += static_cast<double>(pairs.weights.of(i, sign)) * term;
  }
  store_loss(sum, divisor, out);
}

// One thread per pair. `samples` is what the loss was divided by.
__global__ void multi_sigmoid_cross_entropy_loss_backward_kernel(
    MultiSigmoidPairs pairs, const float* __restrict__ x, const float* __restrict__ label,
    uint64_t* fault, float samples, const float* __restrict__ dy, float* __restrict__ dx) {
  const float scale = *dy / samples;
  DRML_GRID_LOOP(i, pairs.size) {
    const int64_t at = pairs.x.place(i);
    const float sign = read_occurrence(label, pairs.label.place(i), i, fault);
    const float present = sign > 0 ? 1.0f : 0.0f;
    const float probability = 1.0f / (1.0f + expf(-x[at]));
    dx[at] = sign == 0 ? 0.0f : (probability - present) * scale * pairs.weights.of(i, sign);
  }
}

}  // namespace cuda
}  // namespace drml
