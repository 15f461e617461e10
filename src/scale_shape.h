// What the scale ops of every device check.
#pragma once

#include <algorithm>
#include <cstdint>

#include "check.h"
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

}  // namespace drml
