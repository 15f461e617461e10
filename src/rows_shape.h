// The rows of a tensor: its axes before one number them, those from it on are a row's numbers.
#pragma once

#include <cstdint>

#include "check.h"
#include "tensor.h"

namespace drml {

// Number i of row g * side + j lies at (g * length + i) * side + j: the rows lie one behind the
// other (side 1), or, the channels of channels-last maps, side by side.
struct RowsShape {
  int64_t groups, side, length;

  int64_t rows() const { return groups * side; }
};

inline RowsShape make_rows_shape(const char* op, const Tensor& x, int64_t axis) {
  DRML_CHECK(axis >= 0 && axis <= x.ndim(), op, ": shape ", to_string(x.shape()), " has no axis ",
             axis);
  RowsShape s{1, 1, 1};
  for (int64_t i = 0; i < x.ndim(); ++i) (i < axis ? s.groups : s.length) *= x.dim(i);
  if (x.size() == 0 || x.is_row_major()) return s;
  DRML_CHECK(!x.is_cuda() && x.is_channels_last() && axis <= 2, op, ": rows of x ",
             to_string(x.shape()), " from axis ", axis, " on lie apart in memory");
  if (axis == 2) return {x.dim(0), x.dim(1), s.length};
  return s;
}

}  // namespace drml
