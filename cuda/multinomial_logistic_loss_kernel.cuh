// Kernels of the cross entropy of probabilities.
#pragma once

#include "labelled_lines.cuh"
#include "least_probability.h"

namespace drml {
namespace cuda {

// All threads add up the terms of the samples.
__global__ void __launch_bounds__(kLossThreads)
    multinomial_logistic_loss_forward_kernel(LabelledLines labelled, const float* __restrict__ prob,
                                             const float* __restrict__ label, uint64_t* fault,
                                             LossDivisor divisor, LossOutput out) {
  const LinePlaces& lines = labelled.lines;
  double sum = 0;
  DRML_GRID_LOOP(line, lines.count) {
    const int64_t own = labelled.read_class(label, line, fault);
    if (own < 0) continue;
    sum += log_loss(prob[lines.start(line) + own * lines.step], kLeastProbability);
  }
  store_loss(sum, divisor, out);
}

// One thread per probability.
__global__ void multinomial_logistic_loss_backward_kernel(
    LabelledLines labelled, const float* __restrict__ prob, const float* __restrict__ label,
    uint64_t* fault, LossDivisor divisor, const float* __restrict__ dy, float* __restrict__ dx) {
  const float scale = *dy / static_cast<float>(divisor.get());
  DRML_GRID_LOOP(i, labelled.size()) {
    const LineElement element = labelled.element(i);
    const bool own = element.number == labelled.read_class(label, element.line, fault);
    const int64_t at = labelled.place(element);
    const float p = prob[at];
    dx[at] = own ? -scale / (p < kLeastProbability ? kLeastProbability : p) : 0.0f;
  }
}

}  // namespace cuda
}  // namespace drml
