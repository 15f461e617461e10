// What the losses of class numbers check on every device, and the sizes that they take from it.
#pragma once

#include <cstdint>

#include "check.h"
#include "elements.h"
#include "tensor.h"

namespace drml {

// Of losses that take one class number for each sample: x (N, D), whose lines are those of axis 1.
inline void check_samples(const char* op, const Tensor& x) {
  DRML_CHECK(x.ndim() == 2, op, ": x needs two axes, (N, D), got shape ", to_string(x.shape()));
}

struct LabelledLinesShape {
  Lines lines;    // of x, each with the label of the same number
  int64_t outer;  // samples of `inner` lines each
  int64_t inner;
};

inline LabelledLinesShape make_labelled_lines_shape(const char* op, const Tensor& x,
                                                    const Tensor& label, int64_t axis) {
  const Lines lines(op, x, axis);
  DRML_CHECK(label.size() == lines.count(), op, ": lines along axis ", axis, " of shape ",
             to_string(x.shape()), " need ", lines.count(), " labels, got shape ",
             to_string(label.shape()));
  int64_t outer = 1;
  for (int64_t before = 0; before < axis; ++before) outer *= x.dim(before);
  return {lines, outer, outer > 0 ? lines.count() / outer : 0};
}

}  // namespace drml
