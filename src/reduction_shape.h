// What the reduction ops of every device check.
#pragma once

#include "rows_shape.h"

namespace drml {

// y has one number for each row of x: of forward, or the dy of backward.
inline RowsShape make_reduction_shape(const char* op, const Tensor& x, const Tensor& y,
                                      int64_t axis) {
  const RowsShape s = make_rows_shape(op, x, axis);
  DRML_CHECK(y.shape() == Shape(x.shape().begin(), x.shape().begin() + axis), op, ": y ",
             to_string(y.shape()), " needs the axes of x ", to_string(x.shape()), " before axis ",
             axis);
  DRML_CHECK(!y.is_cuda() || y.is_row_major(), op, ": y must lie row-major in memory");
  return s;
}

}  // namespace drml
