// What the softmax losses of every device check, and the sizes that they take from it.
#pragma once

#include <cstdint>

#include "check.h"
#include "elements.h"
#include "tensor.h"

namespace drml {

struct SoftmaxLossShape {
  Lines lines;    // of prob, each with the label of the same number
  int64_t outer;  // samples of `inner` lines each
  int64_t inner;
};

inline SoftmaxLossShape make_softmax_loss_shape(const char* op, const Tensor& prob,
                                                const Tensor& label, int64_t axis) {
  const Lines lines(op, prob, axis);
  DRML_CHECK(label.size() == lines.count(), op, ": a softmax over axis ", axis, " of shape ",
             to_string(prob.shape()), " needs ", lines.count(), " labels, got shape ",
             to_string(label.shape()));
  int64_t outer = 1;
  for (int64_t before = 0; before < axis; ++before) outer *= prob.dim(before);
  return {lines, outer, outer > 0 ? lines.count() / outer : 0};
}

}  // namespace drml
