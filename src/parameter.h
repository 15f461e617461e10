// How parameters and their gradients lie in memory: row-major, in Caffe's order, on every device.
#pragma once

#include "check.h"
#include "tensor.h"

namespace drml {

inline void check_parameter(const char* op, const char* name, const Tensor& x, const Shape& shape) {
  DRML_CHECK(x.shape() == shape && x.is_row_major(), op, ": ", name, " needs shape ",
             to_string(shape), ", got ", to_string(x.shape()));
}

}  // namespace drml
