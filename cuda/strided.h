// Describes tensors to kernels that take any strides.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "check.h"
#include "cuda/strided.cuh"
#include "tensor.h"

namespace drml::cuda {

template <int kArrays>
struct Axis {
  int64_t size;
  std::array<int64_t, kArrays> stride;
};

// The axes of tensors of one shape but for those of size one, in their order.
template <typename... Tensors>
std::vector<Axis<sizeof...(Tensors)>> axes_of(const Tensors&... x) {
  const std::array<const Tensor*, sizeof...(Tensors)> tensors = {&x...};
  std::vector<Axis<sizeof...(Tensors)>> axes;
  for (int64_t axis = 0; axis < tensors[0]->ndim(); ++axis) {
    if (tensors[0]->dim(axis) != 1) axes.push_back({tensors[0]->dim(axis), {x.stride(axis)...}});
  }
  return axes;
}

// Axes that lie behind one another in every array, as one would, become one: a row-major tensor
// has one axis.
template <int kArrays>
Strided<kArrays> merge_axes(const char* op, const std::vector<Axis<kArrays>>& axes) {
  std::vector<Axis<kArrays>> merged;
  for (const Axis<kArrays>& axis : axes) {
    bool joins = !merged.empty();
    for (size_t i = 0; joins && i < kArrays; ++i) {
      joins = merged.back().stride[i] == axis.size * axis.stride[i];
    }
    if (joins) {
      merged.back() = {merged.back().size * axis.size, axis.stride};
    } else {
      merged.push_back(axis);
    }
  }
  DRML_CHECK(merged.size() <= kMaxAxes, op, ": ", merged.size(),
             " axes that lie apart in memory are more than ", kMaxAxes);
  Strided<kArrays> result = {};
  for (const Axis<kArrays>& axis : merged) {
    result.size[result.axes] = axis.size;
    std::copy(axis.stride.begin(), axis.stride.end(), result.stride[result.axes]);
    ++result.axes;
  }
  return result;
}

// Where the numbers of a tensor lie, in the order of its axes.
inline Strided<1> places_of(const char* op, const Tensor& x) {
  return merge_axes<1>(op, axes_of(x));
}

}  // namespace drml::cuda
