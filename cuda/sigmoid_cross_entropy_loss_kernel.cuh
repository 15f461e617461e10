// Kernels of the cross entropy of independent logits with targets in [0, 1].
#pragma once

#include "loss.cuh"
#include "strided.cuh"

namespace drml {
namespace cuda {

// As many logits as targets, in the order of their axes. Caffe cuts a target's fraction off before
// it compares with the ignored label.
struct SigmoidPairs {
  int64_t size;
  Strided<1> x;
  Strided<1> label;
  IgnoredLabel ignored;
};

// All threads add up the terms of the pairs.
__global__ void __launch_bounds__(kLossThreads)
    sigmoid_cross_entropy_loss_forward_kernel(SigmoidPairs pairs, const float* __restrict__ x,
                                              const float* __restrict__ label, LossDivisor divisor,
                                              LossOutput out) {
  double sum = 0;
  DRML_GRID_LOOP(i, pairs.size) {
    const float target = label[pairs.label.place(i)];
    if (pairs.ignored.is(truncf(target))) continue;
    // log(1 + e^x) - x * target without a large exponential.
    const float logit = x[pairs.x.place(i)];
    const float linear = logit * ((logit > 0 ? 1.0f : 0.0f) - target);
    sum += static_cast<double>(linear + log1pf(expf(-fabsf(logit))));
  }
  store_loss(sum, divisor, out);
}

// One thread per pair.
__global__ void sigmoid_cross_entropy_loss_backward_kernel(
    SigmoidPairs pairs, const float* __restrict__ x, const float* __restrict__ label,
    LossDivisor divisor, const float* __restrict__ dy, float* __restrict__ dx) {
  const float scale = *dy / static_cast<float>(divisor.get());
  DRML_GRID_LOOP(i, pairs.size) {
    const int64_t at = pairs.x.place(i);
    const float target = label[pairs.label.place(i)];
    const float probability = 1.0f / (1.0f + expf(-x[at]));
    dx[at] = pairs.ignored.is(truncf(target)) ? 0.0f : (probability - target) * scale;
  }
}

}  // namespace cuda
}  // namespace drml
