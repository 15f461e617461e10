// What the region ops of every device check, and the sizes that they take from it.
#pragma once

#include <cstdint>

#include "attributes.h"
#include "check.h"
#include "layout.h"
#include "tensor.h"

namespace drml {

struct RegionShape {
  int64_t batch, channels, height, width;
  int64_t grid_h, grid_w;
  int64_t kernel;

  int64_t patches() const { return grid_h * grid_w; }
  int64_t patch_h() const { return height / grid_h; }
  int64_t patch_w() const { return width / grid_w; }
  int64_t image() const { return channels * height * width; }
  int64_t patch_weights() const { return channels * channels * kernel * kernel; }
};

inline RegionShape make_region_shape(const char* op, const Tensor& x, const Tensor& weight,
                                     const Tensor& mean, const Tensor& variance,
                                     const RegionAttrs& attrs) {
  check_map(op, "x", x);
  RegionShape s{};
  s.batch = x.dim(0);
  s.channels = x.dim(1);
  s.height = x.dim(2);
  s.width = x.dim(3);
  s.grid_h = attrs.grid[0];
  s.grid_w = attrs.grid[1];
  DRML_CHECK(s.grid_h > 0 && s.grid_w > 0 && s.height % s.grid_h == 0 && s.width % s.grid_w == 0,
             op, ": a grid of ", s.grid_h, " x ", s.grid_w, " patches does not divide a map of ",
             s.height, " x ", s.width);
  s.kernel = weight.ndim() == 5 ? weight.dim(4) : 0;
  const Shape weights{s.patches(), s.channels, s.channels, s.kernel, s.kernel};
  DRML_CHECK(weight.is_row_major() && weight.shape() == weights, op, ": weight needs shape ",
             to_string(weights), ", got ", to_string(weight.shape()));
  DRML_CHECK(s.kernel == 2 * attrs.pad + 1, op, ": a kernel of ", s.kernel, " with pad ", attrs.pad,
             " changes the size of a patch");
  const Shape statistics{s.patches(), s.channels};
  for (const Tensor* statistic : {&mean, &variance}) {
    DRML_CHECK(statistic->is_row_major() && statistic->shape() == statistics, op,
               ": statistics need shape ", to_string(statistics), ", got ",
               to_string(statistic->shape()));
  }
  return s;
}

inline void check_region_map(const char* op, const char* name, const Tensor& map, const Tensor& x) {
  DRML_CHECK(map.same_layout(x), op, ": ", name, " needs the shape and layout of x, ",
             to_string(x.shape()), ", got ", to_string(map.shape()));
}

inline RegionShape make_region_forward_shape(const Tensor& x, const Tensor& weight,
                                             const Tensor& bias, const Tensor& mean,
                                             const Tensor& variance, const Tensor& y,
                                             const RegionAttrs& attrs) {
  const char* op = "region_forward";
  const RegionShape shape = make_region_shape(op, x, weight, mean, variance, attrs);
  check_region_map(op, "y", y, x);
  DRML_CHECK(bias.is_row_major() && bias.shape() == mean.shape(), op, ": bias needs shape ",
             to_string(mean.shape()), ", got ", to_string(bias.shape()));
  return shape;
}

inline RegionShape make_region_backward_shape(const Tensor& x, const Tensor& weight,
                                              const Tensor& mean, const Tensor& variance,
                                              const Tensor& dy, const Tensor* dx,
                                              const Tensor* dweight, const Tensor* dbias,
                                              const RegionAttrs& attrs) {
  const char* op = "region_backward";
  const RegionShape shape = make_region_shape(op, x, weight, mean, variance, attrs);
  check_region_map(op, "dy", dy, x);
  if (dx != nullptr) check_region_map(op, "dx", *dx, x);
  DRML_CHECK(dweight == nullptr || dweight->same_layout(weight), op, ": dweight needs shape ",
             to_string(weight.shape()));
  DRML_CHECK(dbias == nullptr || (dbias->is_row_major() && dbias->shape() == mean.shape()), op,
             ": dbias needs shape ", to_string(mean.shape()));
  return shape;
}

}  // namespace drml
