// Kernels of the cross entropy of a softmax.
#pragma once

#include "labelled_lines.cuh"

namespace drml {
namespace cuda {

// All threads add up the terms of the lines.
__global__ void __launch_bounds__(kLossThreads)
    softmax_loss_forward_kernel(LabelledLines labelled, const float* __restrict__ prob,
                                const float* __restrict__ label, uint64_t* fault,
                                LossDivisor divisor, LossOutput out) {
  constexpr float kLeastFloat = 1.17549435e-38f;
  const LinePlaces& lines = labelled.lines;
  double sum = 0;
  DRML_GRID_LOOP(line, lines.count) {
    const int64_t own = labelled.read_class(label, line, fault);
    if (own < 0) continue;
    // A probability that underflowed counts as the least float, as in Caffe: the loss stays finite.
    sum += log_loss(prob[lines.start(line) + own * lines.step], kLeastFloat);
  }
  store_loss(sum, divisor, out);
}

// One thread per probability.
__global__ void softmax_loss_backward_kernel(LabelledLines labelled, const float* __restrict__ prob,
                                             const float* __restrict__ label, uint64_t* fault,
                                             LossDivisor divisor, const float* __restrict__ dy,
                                             float* __restrict__ dx) {
  const float scale = *dy / static_cast<float>(divisor.get());
  DRML_GRID_LOOP(i, labelled.size()) {
    const LineElement element = labelled.element(i);
    const int64_t own = labelled.read_class(label, element.line, fault);
    const int64_t at = labelled.place(element);
    const float hot = element.number == own ? 1.0f : 0.0f;
    dx[at] = own < 0 ? 0.0f : (prob[at] - hot) * scale;
  }
}

}  // namespace cuda
}  // namespace drml
