// What accuracy checks on every device.
#pragma once

#include "check.h"
#include "elements.h"
#include "loss.h"
#include "tensor.h"

namespace drml {

// The lines of scores of x, each with the label of the same number.
inline Lines check_accuracy_shapes(const Tensor& x, const Tensor& label, const Tensor& y,
                                   const Tensor* per_class, int64_t axis) {
  check_scalar("accuracy_forward", "y", y);
  const Lines lines("accuracy_forward", x, axis);
  const int64_t classes = lines.length();
  DRML_CHECK(label.size() == lines.count(), "accuracy_forward: scores of shape ",
             to_string(x.shape()), " with classes on axis ", axis, " need ", lines.count(),
             " labels, got shape ", to_string(label.shape()));
  DRML_CHECK(per_class == nullptr || (per_class->size() == classes && per_class->is_dense()),
             "accuracy_forward: per_class needs ", classes, " numbers");
  return lines;
}

}  // namespace drml
