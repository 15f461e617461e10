// What the PReLU ops of every device check.
#pragma once

#include "check.h"
#include "elements.h"
#include "parameter.h"
#include "tensor.h"

namespace drml {

inline void check_prelu_shapes(const char* op, const Tensor& x, const Tensor& slope) {
  DRML_CHECK(x.ndim() >= 2, op, ": x needs two axes or more, got ", to_string(x.shape()));
  check_parameter(op, "slope", slope, slope.ndim() == 0 ? Shape{} : Shape{x.dim(1)});
}

inline void check_prelu_forward(const char* op, const Tensor& x, const Tensor& slope,
                                const Tensor& y) {
  check_prelu_shapes(op, x, slope);
  check_same_layout(op, x, y);
}

// dx and dslope may be null.
inline void check_prelu_backward(const char* op, const Tensor& x, const Tensor& slope,
                                 const Tensor& dy, const Tensor* dx, const Tensor* dslope) {
  check_prelu_shapes(op, x, slope);
  check_same_layout(op, x, dy);
  if (dx != nullptr) check_same_layout(op, x, *dx);
  if (dslope != nullptr) check_parameter(op, "dslope", *dslope, slope.shape());
}

}  // namespace drml
