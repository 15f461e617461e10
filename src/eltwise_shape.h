// Checks of Eltwise's ops for every device: all arrays lie alike in memory.
#pragma once

#include <cstdint>
#include <vector>

#include "elements.h"

namespace drml {

inline void check_eltwise(const char* op, const std::vector<Tensor>& x, const Tensor& y) {
  DRML_CHECK(!x.empty(), op, ": no inputs");
  for (const Tensor& input : x) check_same_layout(op, input, y);
}

inline void check_eltwise_sum(const std::vector<Tensor>& x, const std::vector<float>& coeff,
                              const Tensor& y) {
  check_eltwise("eltwise_sum", x, y);
  DRML_CHECK(coeff.size() == x.size(), "eltwise_sum: ", coeff.size(), " coefficients for ",
             x.size(), " inputs");
}

inline void check_eltwise_gradient(const char* op, const std::vector<Tensor>& x, const Tensor& dy,
                                   int64_t index, const Tensor& dx) {
  check_eltwise(op, x, dy);
  check_same_layout(op, dx, dy);
  DRML_CHECK(index >= 0 && index < static_cast<int64_t>(x.size()), op, ": no input ", index);
}

}  // namespace drml
