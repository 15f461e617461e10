// What the LRN ops of every device check, and the sizes that they take from it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "attributes.h"
#include "check.h"
#include "layout.h"
#include "tensor.h"

namespace drml {

struct LrnShape {
  int64_t images;
  int64_t channels;
  int64_t rows;
  int64_t columns;
  int64_t reach;  // of a window, to each side; not beyond what any window meets
  float scale;    // alpha divided by the number of neighbours
};

inline LrnShape make_lrn_shape(const char* op, const Tensor& x, const LrnAttrs& attrs) {
  check_map(op, "x", x);
  DRML_CHECK(attrs.size > 0 && attrs.size % 2 == 1, op, ": window of ", attrs.size,
             " should be odd");
  const auto size = static_cast<double>(attrs.size);
  const double neighbours = attrs.within_channel ? size * size : size;
  const int64_t extent = attrs.within_channel ? std::max(x.dim(2), x.dim(3)) : x.dim(1);
  return {x.dim(0),
          x.dim(1),
          x.dim(2),
          x.dim(3),
          std::min(attrs.size / 2, extent),
          attrs.alpha / static_cast<float>(neighbours)};
}

}  // namespace drml
