// What the scale ops of every device check.
#pragma once

#include <algorithm>
#include <cstdint>

#include "check.h"
#include "elements.h"
#include "tensor.h"

namespace drml {

// What lies along the axes of x: scale, or bias where that is null.
inline const Tensor& scale_parameter(const char* op, const Tensor* scale, const Tensor* bias) {
  DRML_CHECK(scale != nullptr || bias != nullptr, op, ": needs a scale or a bias");
  return scale != nullptr ? *scale : *bias;
}

inline void check_scale_shapes(const char* op, const Tensor& x, const Tensor* scale,
                               const Tensor* bias, int64_t axis) {
  const Shape& shape = x.shape();
  const char* name = scale != nullptr ? "scale" : "bias";
  const Tensor& parameter = scale_parameter(op, scale, bias);
  DRML_CHECK(
      axis >= 0 && axis + parameter.ndim() <= x.ndim() &&
          std::equal(parameter.shape().begin(), parameter.shape().end(), shape.begin() + axis),
      op, ": ", name, " ", to_string(parameter.shape()), " does not fit x ", to_string(shape),
      " from axis ", axis, " on");
  DRML_CHECK(parameter.is_row_major() || parameter.is_channels_last(), op, ": ", name, " ",
             to_string(parameter.shape()), " must lie row-major or channels-last in memory");
  DRML_CHECK(bias == nullptr || bias->shape() == parameter.shape(), op,
             ": bias needs the shape of scale, ", to_string(parameter.shape()));
}

inline void check_scale_forward(const char* op, const Tensor& x, const Tensor* scale,
                                const Tensor* bias, const Tensor& y, int64_t axis) {
  check_scale_shapes(op, x, scale, bias, axis);
  check_same_layout(op, x, y);
}

// dx, dscale and dbias may be null.
inline void check_scale_backward(const char* op, const Tensor& x, const Tensor* scale,
                                 const Tensor& dy, const Tensor* dx, const Tensor* dscale,
                                 const Tensor* dbias, int64_t axis) {
  if (scale != nullptr || dbias != nullptr) check_scale_shapes(op, x, scale, dbias, axis);
  check_same_layout(op, x, dy);
  if (dx != nullptr) check_same_layout(op, x, *dx);
  DRML_CHECK(dscale == nullptr || scale != nullptr, op, ": a scale that is absent has no gradient");
  if (dscale != nullptr) check_same_layout(op, *scale, *dscale);
}

}  // namespace drml
