// The terms of the hinge loss and their slopes, written once for both backends. CUDA's compilers
// read this file too, in C++14 and without the host's headers.
#pragma once

#include "host_device.h"

namespace drml {

// By how much a score falls short of its side of the margin, and 0 beyond: the score of the
// sample's own class should be 1 or more, any other -1 or less.
DRML_HOST_DEVICE inline float hinge_margin(float score, bool own) {
  const float margin = 1.0f + (own ? -score : score);
  return margin < 0 ? 0.0f : margin;
}

DRML_HOST_DEVICE inline double hinge_term(float margin, bool l2) {
  const double term = margin;
  return l2 ? term * term : term;
}

// Of the term, with respect to the score.
DRML_HOST_DEVICE inline float hinge_slope(float margin, bool own, bool l2) {
  const float slope = l2 ? 2.0f * margin : (margin > 0 ? 1.0f : 0.0f);
  return own ? -slope : slope;
}

}  // namespace drml
