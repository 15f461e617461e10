// Sizes of pooling, checked in one place for every device.
#pragma once

#include <algorithm>
#include <cstdint>

#include "attributes.h"
#include "check.h"
#include "layout.h"
#include "tensor.h"

namespace drml {

// Pairs are rows, columns.
struct PoolingShape {
  int64_t images, channels;
  Pair size;     // of the map that the windows run over
  Pair windows;  // how many there are
  Pair kernel, stride, pad;
};

// x is what the windows run over, y has one pixel per window; backward, y is the dy.
inline PoolingShape make_pooling_shape(const char* op, const Tensor& x, const Tensor& y,
                                       const PoolingAttrs& attrs) {
  check_map(op, "x", x);
  check_map(op, "y", y);
  DRML_CHECK(x.dim(0) == y.dim(0) && x.dim(1) == y.dim(1), op, ": x ", to_string(x.shape()),
             " and y ", to_string(y.shape()), " differ in images or channels");
  const PoolingShape s{
      x.dim(0),     x.dim(1), {x.dim(2), x.dim(3)}, {y.dim(2), y.dim(3)}, attrs.kernel,
      attrs.stride, attrs.pad};
  for (size_t i = 0; i < 2; ++i) {
    DRML_CHECK(s.kernel[i] > 0 && s.stride[i] > 0 && s.pad[i] >= 0 && s.pad[i] < s.kernel[i], op,
               ": window ", s.kernel[i], " with stride ", s.stride[i], " and pad ", s.pad[i]);
    const int64_t last_window = (s.windows[i] - 1) * s.stride[i] - s.pad[i];
    DRML_CHECK(std::max<int64_t>(last_window, 0) < s.size[i], op, ": x ", to_string(x.shape()),
               " is too small for the windows of y ", to_string(y.shape()));
  }
  return s;
}

// mask has one pixel per window.
inline PoolingShape make_mask_shape(const Tensor& x, const Tensor& mask,
                                    const PoolingAttrs& attrs) {
  DRML_CHECK(attrs.max, "pooling_mask: only MAX has places of maxima");
  return make_pooling_shape("pooling_mask", x, mask, attrs);
}

}  // namespace drml
