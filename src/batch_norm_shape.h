// What the batch normalization ops of every device check, and the sizes that they take from it.
#pragma once

#include <cstdint>

#include "check.h"
#include "tensor.h"

namespace drml {

struct BatchNormShape {
  int64_t channels;
  int64_t count;  // numbers of a channel
};

inline BatchNormShape make_batch_norm_shape(const char* op, const Tensor& x, const Tensor& mean,
                                            const Tensor& variance) {
  DRML_CHECK(x.size() > 0, op, ": x ", to_string(x.shape()), " holds nothing");
  const int64_t channels = x.ndim() > 1 ? x.dim(1) : 1;
  for (const Tensor* statistic : {&mean, &variance}) {
    DRML_CHECK(statistic->is_row_major() && statistic->shape() == Shape({channels}), op,
               ": statistics of x ", to_string(x.shape()), " need shape ", to_string({channels}),
               ", got ", to_string(statistic->shape()));
  }
  return {channels, x.size() / channels};
}

}  // namespace drml
