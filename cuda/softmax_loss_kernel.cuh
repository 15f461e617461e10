// Kernels of the cross entropy of a softmax.
#pragma once

#include "fault.cuh"
#include "lines.cuh"
#include "loss.cuh"

namespace drml {
namespace cuda {

// The lines of prob, each with the label of the same number.
struct LabelledLines {
  LinePlaces lines;
  Strided<1> labels;
  IgnoredLabel ignored;

  // The class of a line, or -1 where the label is ignored; so is a wrong one, after its report.
  __device__ int64_t read_class(const float* label, int64_t line, uint64_t* fault) const {
    const float value = label[labels.place(line)];
    if (ignored.is(value)) return -1;
    if (is_class(value, lines.length)) return static_cast<int64_t>(value);
    report_fault(fault, line, value);
    return -1;
  }
};

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
    const float p = prob[lines.start(line) + own * lines.step];
    sum -= static_cast<double>(logf(p < kLeastFloat ? kLeastFloat : p));
  }
  store_loss(sum, divisor, out);
}

// One thread per probability.
__global__ void softmax_loss_backward_kernel(LabelledLines labelled, const float* __restrict__ prob,
                                             const float* __restrict__ label, uint64_t* fault,
                                             LossDivisor divisor, const float* __restrict__ dy,
                                             float* __restrict__ dx) {
  const LinePlaces& lines = labelled.lines;
  const float scale = *dy / static_cast<float>(divisor.get());
  DRML_GRID_LOOP(i, lines.count * lines.length) {
    // Neighbouring threads take neighbours in memory: of a line without gaps, else of other lines.
    const bool along = lines.step == 1;
    const int64_t line = along ? i / lines.length : i % lines.count;
    const int64_t other = along ? i % lines.length : i / lines.count;
    const int64_t at = lines.start(line) + other * lines.step;
    const int64_t own = labelled.read_class(label, line, fault);
    const float hot = other == own ? 1.0f : 0.0f;
    dx[at] = own < 0 ? 0.0f : (prob[at] - hot) * scale;
  }
}

}  // namespace cuda
}  // namespace drml
