// Where elements lie in arrays of one shape whose axes have any strides.
#pragma once

#include "portable.h"

namespace drml {
namespace cuda {

constexpr int kMaxAxes = 8;

// Axes, outermost first, and each array's strides along them. Without axes there is one element.
// Unused places of the arrays hold zeros.
template <int kArrays>
struct Strided {
  int axes;
  int64_t size[kMaxAxes];
  int64_t stride[kMaxAxes][kArrays];

  // Sets at[i] to the place in array i of the element that is number `index` in this order.
  __device__ void locate(int64_t index, int64_t (&at)[kArrays]) const {
    for (int i = 0; i < kArrays; ++i) at[i] = 0;
    for (int axis = axes - 1; axis > 0; --axis) {
      const int64_t along = index % size[axis];
      index /= size[axis];
      for (int i = 0; i < kArrays; ++i) at[i] += along * stride[axis][i];
    }
    for (int i = 0; i < kArrays; ++i) at[i] += index * stride[0][i];
  }

  // Where that element lies in the first array.
  __device__ int64_t place(int64_t index) const {
    int64_t at[kArrays];
    locate(index, at);
    return at[0];
  }
};

}  // namespace cuda
}  // namespace drml
