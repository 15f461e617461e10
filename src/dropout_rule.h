// What dropout's ratio comes to on every device.
#pragma once

#include <cmath>
#include <cstdint>

#include "elements.h"

namespace drml {

// An element whose 32 random bits are less than the threshold becomes 0; others are scaled.
struct DropoutRule {
  float scale;
  uint64_t threshold;
};

inline DropoutRule make_dropout_rule(const Tensor& x, const Tensor& y, float ratio) {
  check_same_layout("dropout", x, y);
  DRML_CHECK(ratio >= 0 && ratio < 1, "dropout: ratio ", ratio, " is not in [0, 1)");
  return {1.0f / (1.0f - ratio),
          static_cast<uint64_t>(std::llround(std::ldexp(double{ratio}, 32)))};
}

}  // namespace drml
