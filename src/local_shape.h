// Sizes of the locally connected layer, checked in one place for every device.
#pragma once

#include <algorithm>
#include <cstdint>

#include "attributes.h"
#include "check.h"
#include "layout.h"
#include "parameter.h"
#include "tensor.h"
#include "window_shape.h"

namespace drml {

// Pairs are rows, columns.
struct LocalShape {
  int64_t images, channels, outputs;
  Pair x, y;
  Pair kernel, stride, pad;
  int64_t group;
  bool bias_per_location;  // false where there is no bias

  int64_t locations() const { return y[0] * y[1]; }
  int64_t group_outputs() const { return outputs / group; }
  // Numbers of one filter.
  int64_t depth() const { return channels / group * kernel[0] * kernel[1]; }
};

// `bias` is that of forward or the dbias of backward, and `y` the dy.
inline LocalShape make_local_shape(const char* op, const Tensor& x, const Tensor& weight,
                                   const Tensor* bias, const Tensor& y, const LocalAttrs& attrs) {
  check_map(op, "x", x);
  check_map(op, "y", y);
  const int64_t group = attrs.group;
  const Shape& w = weight.shape();
  DRML_CHECK(weight.ndim() == 5 && weight.is_row_major() && weight.size() > 0 && group > 0 &&
                 w[1] % group == 0 && w[2] * group == x.dim(1),
             op, ": weight ", to_string(w), " does not fit x ", to_string(x.shape()), " in ", group,
             " group(s)");
  Shape y_shape{x.dim(0), w[1], 0, 0};
  for (size_t i = 0; i < 2; ++i) {
    const int64_t step = attrs.stride[i];
    DRML_CHECK(step > 0 && attrs.pad[i] >= 0, op, ": stride ", step, " and pad ", attrs.pad[i],
               " need to be positive (pad may be 0)");
    const auto axis = static_cast<int64_t>(i) + 2;
    y_shape[i + 2] = count_windows(op, x, weight, axis, w[i + 3], step, attrs.pad[i]);
  }
  check_y_shape(op, y, y_shape);
  const int64_t locations = y_shape[2] * y_shape[3];
  DRML_CHECK(w[0] == locations, op, ": weight ", to_string(w), " is for ", w[0], " location(s), y ",
             to_string(y_shape), " has ", locations);
  const bool bias_per_location = bias != nullptr && bias->ndim() == 2;
  if (bias != nullptr) {
    check_parameter(op, "bias", *bias, bias_per_location ? Shape{locations, w[1]} : Shape{w[1]});
  }
  return {
      x.dim(0),     x.dim(1),  w[1],  {x.dim(2), x.dim(3)}, {y_shape[2], y_shape[3]}, {w[3], w[4]},
      attrs.stride, attrs.pad, group, bias_per_location};
}

// The locations in tiles, colored as a checkerboard of two colors each way is: the windows of one
// tile meet those of adjacent tiles and no others, so never those of a tile of its own color. Who
// does the colors one after another can add to dx tile by tile, with nobody else at the same place
// and in an order that the shape alone decides.
struct LocalTiles {
  static constexpr int64_t kColors = 4;

  Pair size;   // locations of a tile
  Pair count;  // tiles of the map

  int64_t row_parity(int64_t color) const { return color / 2; }
  int64_t column_parity(int64_t color) const { return color % 2; }
  // Tiles of a color, down and across the map.
  int64_t down(int64_t color) const { return (count[0] + 1 - row_parity(color)) / 2; }
  int64_t across(int64_t color) const { return (count[1] + 1 - column_parity(color)) / 2; }
};

inline LocalTiles make_local_tiles(const LocalShape& shape) {
  LocalTiles tiles{};
  for (size_t i = 0; i < 2; ++i) {
    // A tile of n locations reaches over (n - 1) * stride + kernel rows. The next one of its color
    // begins 2 * n * stride after it, which is no less.
    tiles.size[i] =
        std::max<int64_t>(1, (shape.kernel[i] + shape.stride[i] - 1) / shape.stride[i] - 1);
    tiles.count[i] = (shape.y[i] + tiles.size[i] - 1) / tiles.size[i];
  }
  return tiles;
}

}  // namespace drml
