// Kernels of the cross entropy of a softmax that a matrix weighs.
#pragma once

#include "labelled_lines.cuh"
#include "least_probability.h"

namespace drml {
namespace cuda {

// All threads add up the terms of the probabilities, each weighted by its place in the row of its
// line's label.
__global__ void __launch_bounds__(kLossThreads)
    infogain_loss_forward_kernel(LabelledLines labelled, const float* __restrict__ prob,
                                 const float* __restrict__ label,
                                 const float* __restrict__ infogain, uint64_t* fault,
                                 LossDivisor divisor, LossOutput out) {
  double sum = 0;
  DRML_GRID_LOOP(i, labelled.size()) {
    const LineElement element = labelled.element(i);
    const int64_t own = labelled.read_class(label, element.line, fault);
    const int64_t at = labelled.place(element);
    if (own < 0) continue;
    const float weight = infogain[own * labelled.lines.length + element.number];
    sum += weight * log_loss(prob[at], kLeastProbability);
  }
  store_loss(sum, divisor, out);
}

// One thread per probability.
__global__ void infogain_loss_backward_kernel(
    LabelledLines labelled, const float* __restrict__ prob, const float* __restrict__ label,
    const float* __restrict__ infogain, const float* __restrict__ row_sums, uint64_t* fault,
    LossDivisor divisor, const float* __restrict__ dy, float* __restrict__ dx) {
  const float scale = *dy / static_cast<float>(divisor.get());
  DRML_GRID_LOOP(i, labelled.size()) {
    const LineElement element = labelled.element(i);
    const int64_t own = labelled.read_class(label, element.line, fault);
    const int64_t at = labelled.place(element);
    float gradient = 0;
    if (own >= 0) {
      const float weight = infogain[own * labelled.lines.length + element.number];
      gradient = (prob[at] * row_sums[own] - weight) * scale;
    }
    dx[at] = gradient;
  }
}

}  // namespace cuda
}  // namespace drml
