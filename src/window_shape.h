// What the shapes of convolution and the locally connected layer share: windows over maps.
#pragma once

#include <cstdint>

#include "check.h"
#include "layout.h"
#include "parameter.h"
#include "tensor.h"

namespace drml {

// How many windows, which reach over so many numbers and begin `stride` apart, fit along an axis of
// x with `pad` at both ends.
inline int64_t count_windows(const char* op, const Tensor& x, const Tensor& weight, int64_t axis,
                             int64_t reach, int64_t stride, int64_t pad) {
  const int64_t room = x.dim(axis) + 2 * pad - reach;
  DRML_CHECK(room >= 0, op, ": weight ", to_string(weight.shape()), " reaches beyond x ",
             to_string(x.shape()), " with pad ", pad);
  return room / stride + 1;
}

inline void check_y_shape(const char* op, const Tensor& y, const Shape& shape) {
  DRML_CHECK(y.shape() == shape, op, ": y needs shape ", to_string(shape), ", got ",
             to_string(y.shape()));
}

// dx and dweight may be null.
inline void check_window_gradients(const char* op, const Tensor& x, const Tensor& weight,
                                   const Tensor* dx, const Tensor* dweight) {
  if (dweight != nullptr) check_parameter(op, "dweight", *dweight, weight.shape());
  if (dx == nullptr) return;
  check_map(op, "dx", *dx);
  DRML_CHECK(dx->shape() == x.shape(), op, ": dx needs shape ", to_string(x.shape()), ", got ",
             to_string(dx->shape()));
}

}  // namespace drml
