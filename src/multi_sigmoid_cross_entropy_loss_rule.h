// The weights of the multi-label loss, read alike by both backends. CUDA's compilers read this file
// too, in C++14 and without the host's headers.
#pragma once

#ifndef __CUDACC_RTC__
#include <stdint.h>
#endif

#include "host_device.h"

namespace drml {

// What loss and gradient of a label are multiplied by: 1, or a number for each action unit, an
// index of axis 1, and sign: (2, units), the positive labels' first.
struct LabelWeights {
  const float* weights;  // null: 1 for all
  int64_t units;
  int64_t places;  // labels of a sample for each unit

  // Of label number i in the order of the axes; it is not 0.
  DRML_HOST_DEVICE float of(int64_t i, float label) const {
    if (weights == nullptr) return 1.0f;
    return weights[(label > 0 ? 0 : units) + i / places % units];
  }
};

}  // namespace drml
