// Kernels of the one-versus-all hinge loss.
#pragma once

#include "hinge_loss_rule.h"
#include "labelled_lines.cuh"

namespace drml {
namespace cuda {

// All threads add up the terms of the scores.
__global__ void __launch_bounds__(kLossThreads)
    hinge_loss_forward_kernel(LabelledLines labelled, const float* __restrict__ x,
                              const float* __restrict__ label, uint64_t* fault, bool l2,
                              LossDivisor divisor, LossOutput out) {
  double sum = 0;
  DRML_GRID_LOOP(i, labelled.size()) {
    const LineElement element = labelled.element(i);
    const bool own = element.number == labelled.read_class(label, element.line, fault);
    const int64_t at = labelled.place(element);
    sum += hinge_term(hinge_margin(x[at], own), l2);
  }
  store_loss(sum, divisor, out);
}

// One thread per score.
__global__ void hinge_loss_backward_kernel(LabelledLines labelled, const float* __restrict__ x,
                                           const float* __restrict__ label, uint64_t* fault,
                                           bool l2, LossDivisor divisor,
                                           const float* __restrict__ dy, float* __restrict__ dx) {
  const float scale = *dy / static_cast<float>(divisor.get());
  DRML_GRID_LOOP(i, labelled.size()) {
    const LineElement element = labelled.element(i);
    const bool own = element.number == labelled.read_class(label, element.line, fault);
    const int64_t at = labelled.place(element);
    dx[at] = hinge_slope(hinge_margin(x[at], own), own, l2) * scale;
  }
}

}  // namespace cuda
}  // namespace drml
