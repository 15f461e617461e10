// Sizes of a convolution, checked in one place for every device.
#pragma once

#include <cstdint>

#include "attributes.h"
#include "check.h"
#include "layout.h"
#include "parameter.h"
#include "tensor.h"
#include "window_shape.h"

namespace drml {

// Pairs are rows, columns.
struct ConvolutionShape {
  int64_t images, channels, outputs;
  Pair x, y;
  Pair kernel, stride, pad, dilation;
  int64_t group;

  int64_t pixels() const { return x[0] * x[1]; }
  int64_t places() const { return y[0] * y[1]; }
  int64_t taps() const { return kernel[0] * kernel[1]; }
  int64_t group_outputs() const { return outputs / group; }
  // Numbers of one filter.
  int64_t depth() const { return channels / group * taps(); }
};

// `bias` is that of forward or the dbias of backward, and `y` the dy.
inline ConvolutionShape make_convolution_shape(const char* op, const Tensor& x,
                                               const Tensor& weight, const Tensor* bias,
                                               const Tensor& y, const ConvolutionAttrs& attrs) {
  check_map(op, "x", x);
  check_map(op, "y", y);
  const int64_t group = attrs.group;
  const Shape& w = weight.shape();
  DRML_CHECK(weight.ndim() == 4 && weight.is_row_major() && weight.size() > 0 && group > 0 &&
                 w[0] % group == 0 && w[1] * group == x.dim(1),
             op, ": weight ", to_string(w), " does not fit x ", to_string(x.shape()), " in ", group,
             " group(s)");
  Shape y_shape{x.dim(0), w[0], 0, 0};
  for (size_t i = 0; i < 2; ++i) {
    const int64_t step = attrs.stride[i];
    DRML_CHECK(step > 0 && attrs.pad[i] >= 0 && attrs.dilation[i] > 0, op, ": stride ", step,
               ", pad ", attrs.pad[i], " and dilation ", attrs.dilation[i],
               " need to be positive (pad may be 0)");
    const int64_t reach = attrs.dilation[i] * (w[i + 2] - 1) + 1;
    const auto axis = static_cast<int64_t>(i) + 2;
    y_shape[i + 2] = count_windows(op, x, weight, axis, reach, step, attrs.pad[i]);
  }
  check_y_shape(op, y, y_shape);
  if (bias != nullptr) check_parameter(op, "bias", *bias, {w[0]});
  return {x.dim(0),     x.dim(1),     w[0],      {x.dim(2), x.dim(3)}, {y_shape[2], y_shape[3]},
          {w[2], w[3]}, attrs.stride, attrs.pad, attrs.dilation,       group};
}

}  // namespace drml
