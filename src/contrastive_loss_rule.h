// The terms of the contrastive loss and their slopes, written once for both backends. CUDA's
// compilers read this file too, in C++14 and without the host's headers.
#pragma once

#ifndef __CUDACC_RTC__
#include <math.h>
#endif

#include "host_device.h"

namespace drml {

// How a pair's squared distance counts. Similar pairs should lie close, others `margin` apart:
// that is a distance, or, in Caffe's first version of the loss, a squared one.
struct ContrastiveRule {
  float margin;
  bool legacy;

  // Half of it is the pair's loss.
  DRML_HOST_DEVICE float term(float squared, bool similar) const {
    if (similar) return squared;
    const float missing = margin - (legacy ? squared : sqrtf(squared));
    if (missing < 0) return 0.0f;
    return legacy ? missing : missing * missing;
  }

  // The gradient of half the term with respect to a is this times a - b. As in Caffe a small number
  // keeps the division by the distance finite.
  DRML_HOST_DEVICE float factor(float squared, bool similar) const {
    if (similar) return 1.0f;
    const float distance = legacy ? squared : sqrtf(squared);
    const float missing = margin - distance;
    if (missing <= 0) return 0.0f;
    return legacy ? -1.0f : -missing / (distance + 1e-4f);
  }
};

// Labels are whole numbers: 0 for a dissimilar pair, any other for a similar one.
DRML_HOST_DEVICE inline bool is_pair_label(float label) { return label - floorf(label) == 0; }

}  // namespace drml
