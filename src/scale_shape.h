// What the scale ops of every device check.
#pragma once

#include <algorithm>
#include <cstdint>

#include "check.h"
#include "elements.h"
#include "tensor.h"

namespace drml {

inline void check_scale_shapes(const char* op, const Tensor& x, const Tensor& scale,
                               const Tensor* bias, int64_t axis) {
  const Shape& shape = x.shape();
  DRML_CHECK(axis >= 0 && axis + scale.ndim() <= x.ndim() &&
                 std::equal(scale.shape().begin(), scale.shape().end(), shape.begin() + axis),
             op, ": scale ", to_string(scale.shape()), " does not fit x ", to_string(shape),
             " from axis ", axis, " on");
  DRML_CHECK(scale.is_row_major() || scale.is_channels_last(), op, ": scale ",
             to_string(scale.shape()), " must lie row-major or channels-last in memory");
  DRML_CHECK(bias == nullptr || bias->shape() == scale.shape(), op,
             ": bias needs the shape of scale, ", to_string(scale.shape()));
}

inline void check_scale_forward(const char* op, const Tensor& x, const Tensor& scale,
                                const Tensor* bias, const Tensor& y, int64_t axis) {
  check_scale_shapes(op, x, scale, bias, axis);
  check_same_layout(op, x, y);
}

// dx, dscale and dbias may be null.
inline void check_scale_backward(const char* op, const Tensor& x, const Tensor& scale,
                                 const Tensor& dy, const Tensor* dx, const Tensor* dscale,
                                 const Tensor* dbias, int64_t axis) {
  check_scale_shapes(op, x, scale, dbias, axis);
  check_same_layout(op, x, dy);
  if (dx != nullptr) check_same_layout(op, x, *dx);
  if (dscale != nullptr) check_same_layout(op, scale, *dscale);
}

}  // namespace drml
