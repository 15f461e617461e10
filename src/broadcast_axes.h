// The axes of a tensor in the order of its memory, beside parameters that are broadcast over some
// of them: one scale or mean per channel, say.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tensor.h"

namespace drml {

struct BroadcastAxis {
  int64_t size;
  int64_t stride;  // in the tensor
  int64_t step;    // in the parameters; 0 where they are broadcast
};

// The axes of a dense x from the outermost, without those of size 1. `parameter` has the axes of x
// from `axis` on; axes of x's that it lacks are broadcast. Neighbours along which the parameters
// advance as along one axis are one: a row-major x with a parameter of any axes has three at most.
inline std::vector<BroadcastAxis> broadcast_axes(const Tensor& x, const Tensor& parameter,
                                                 int64_t axis) {
  std::vector<BroadcastAxis> axes;
  for (int64_t i = 0; i < x.ndim(); ++i) {
    if (x.dim(i) == 1) continue;
    const bool covered = i >= axis && i < axis + parameter.ndim();
    axes.push_back({x.dim(i), x.stride(i), covered ? parameter.stride(i - axis) : 0});
  }
  std::sort(axes.begin(), axes.end(),
            [](const BroadcastAxis& a, const BroadcastAxis& b) { return a.stride > b.stride; });
  for (size_t i = 1; i < axes.size();) {
    const BroadcastAxis outer = axes[i - 1];
    if (outer.step == axes[i].step * axes[i].size) {
      axes[i].size *= outer.size;
      axes.erase(axes.begin() + static_cast<std::ptrdiff_t>(i) - 1);
    } else {
      ++i;
    }
  }
  return axes;
}

}  // namespace drml
