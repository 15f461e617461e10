// What the multi-label losses of every device check of their weights.
#pragma once

#include <algorithm>

#include "loss.h"
#include "multi_sigmoid_cross_entropy_loss_rule.h"
#include "parameter.h"

namespace drml {

inline LabelWeights make_label_weights(const char* op, const Tensor& x, const LabelledPairs& pairs,
                                       const Tensor* weight) {
  if (weight == nullptr) return {nullptr, 1, 1};
  const int64_t units = x.ndim() > 1 ? x.dim(1) : 1;
  check_parameter(op, "weight", *weight, {2, units});
  return {weight->data(), std::max<int64_t>(1, units),
          std::max<int64_t>(1, pairs.columns() / std::max<int64_t>(1, units))};
}

}  // namespace drml
