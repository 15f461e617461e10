// Describes lines with a class number each to kernels.
#pragma once

#include <cstdint>

#include "cuda/context.h"
#include "cuda/labelled_lines.cuh"
#include "cuda/lines.h"
#include "cuda/loss_launch.h"
#include "loss.h"

namespace drml::cuda {

inline LabelledLines places_of_labelled(const char* op, const Tensor& x, const Tensor& label,
                                        int64_t axis, const LossAttrs& attrs) {
  return {places_of_lines(op, x, axis), places_of(op, label), ignored_label(attrs.ignore_label)};
}

inline uint64_t* fault_of_labels(Context& context, const char* op, int64_t classes) {
  return context.fault(
      [=](int64_t position, float label) { return wrong_class(op, label, position, classes); });
}

}  // namespace drml::cuda
