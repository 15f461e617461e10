// What the MVN ops of every device check.
#pragma once

#include "elements.h"
#include "rows_shape.h"

namespace drml {

// x and y lie alike; deviation has a number for each row, or is null.
inline RowsShape make_mvn_shape(const char* op, const Tensor& x, const Tensor& y,
                                const Tensor* deviation, int64_t axis) {
  const RowsShape s = make_rows_shape(op, x, axis);
  check_same_layout(op, x, y);
  DRML_CHECK(deviation == nullptr || (deviation->shape() == Shape{s.rows()}), op,
             ": deviation needs shape ", to_string({s.rows()}), ", got ",
             to_string(deviation->shape()));
  return s;
}

}  // namespace drml
