// Lines of scores with a class number each: what the losses of class numbers share on CUDA.
#pragma once

#include "fault.cuh"
#include "lines.cuh"
#include "loss.cuh"

namespace drml {
namespace cuda {

// One number of a line.
struct LineElement {
  int64_t line;
  int64_t number;
};

// The lines of x, each with the label of the same number.
struct LabelledLines {
  LinePlaces lines;
  Strided<1> labels;
  IgnoredLabel ignored;

  __device__ int64_t size() const { return lines.count * lines.length; }

  // The class of a line, or -1 where the label is ignored; so is a wrong one, after its report.
  __device__ int64_t read_class(const float* label, int64_t line, uint64_t* fault) const {
    const float value = label[labels.place(line)];
    if (ignored.is(value)) return -1;
    if (is_class(value, lines.length)) return static_cast<int64_t>(value);
    report_fault(fault, line, value);
    return -1;
  }

  // Element i of all. Neighbouring threads take neighbours in memory: of a line without gaps, else
  // of other lines.
  __device__ LineElement element(int64_t i) const {
    const bool along = lines.step == 1;
    const int64_t inner = along ? lines.length : lines.count;
    const int64_t outer_index = i / inner;
    const int64_t inner_index = i - outer_index * inner;
    return along ? LineElement{outer_index, inner_index} : LineElement{inner_index, outer_index};
  }
  // Where it lies in memory. Kernels read the class first: they need fewer registers then.
  __device__ int64_t place(const LineElement& element) const {
    return lines.start(element.line) + element.number * lines.step;
  }
};

// Minus the logarithm of a class's probability, which counts as `least` where it is below.
__device__ inline double log_loss(float probability, float least) {
  return -static_cast<double>(logf(probability < least ? least : probability));
}

}  // namespace cuda
}  // namespace drml
