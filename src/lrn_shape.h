// What the LRN ops of every device check, and the sizes that they take from it.
#pragma once

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
  float scale;  // alpha divided by the number of neighbours
};

inline LrnShape make_lrn_shape(const char* op, const Tensor& x, const LrnAttrs& attrs) {
  check_map(op, "x", x);
  DRML_CHECK(attrs.size > 0 && attrs.size % 2 == 1, op, ": window of ", attrs.size,
             " should be odd");
  const int64_t neighbours = attrs.within_channel ? attrs.size * attrs.size : attrs.size;
  return {x.dim(0), x.dim(1), x.dim(2), x.dim(3), attrs.alpha / static_cast<float>(neighbours)};
}

}  // namespace drml
