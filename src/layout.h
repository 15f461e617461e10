// How maps lie in memory: channels-last on the CPU, whose kernels read whole pixels; row-major on
// CUDA, where im2col, the matrix products and the kernels' neighbouring threads want it so.
#pragma once

#include "check.h"
#include "tensor.h"

namespace drml {

// Checks that x has the shape (N, C, H, W) and lies as its device's kernels read it.
inline void check_map(const char* op, const char* name, const Tensor& x) {
  DRML_CHECK(x.ndim() == 4, op, ": ", name, " needs shape (N, C, H, W), got ",
             to_string(x.shape()));
  if (x.is_cuda()) {
    DRML_CHECK(x.is_row_major(), op, ": ", name, " must lie row-major in memory");
  } else {
    DRML_CHECK(x.is_channels_last(), op, ": ", name, " must lie channels-last in memory");
  }
}

}  // namespace drml
