// Kernels of scale and bias that are broadcast over some axes.
#pragma once

#include "broadcast.cuh"

namespace drml {
namespace cuda {

struct ScaleAndBias {
  float scale;
  float bias;
};

// y = x * scale + bias; one thread computes several numbers of a line. Without scale it is 1,
// without bias 0. y may be x.
__global__ void scale_kernel(BroadcastLines lines, const float* x, const float* __restrict__ scale,
                             const float* __restrict__ bias, float* y) {
  for_each_number(
      lines,
      [=](int64_t p) {
        return ScaleAndBias{scale == nullptr ? 1.0f : scale[p], bias == nullptr ? 0.0f : bias[p]};
      },
      [=](int64_t i, ScaleAndBias at) { y[i] = x[i] * at.scale + at.bias; });
}

// partial = sums of x * dy and of dy; one block, or thread, sums a part of a group.
template <bool kByBlock>
__global__ void scale_sums_kernel(BroadcastGroups groups, const float* __restrict__ x,
                                  const float* __restrict__ dy, float2* __restrict__ partial) {
  sum_pairs<kByBlock>(
      groups, [=](int64_t i, int64_t) { return make_float2(x[i] * dy[i], dy[i]); }, partial);
}

// One thread adds a group's sums to dscale and to dbias. Both may be null.
__global__ void scale_add_sums_kernel(BroadcastGroups groups, const float2* __restrict__ partial,
                                      float* __restrict__ dscale, float* __restrict__ dbias) {
  add_group_sums(groups, partial, dscale, dbias);
}

#ifdef DRML_KERNELS_ONLY
template __global__ void scale_sums_kernel<false>(BroadcastGroups, const float*, const float*,
                                                  float2*);
template __global__ void scale_sums_kernel<true>(BroadcastGroups, const float*, const float*,
                                                 float2*);
#endif

}  // namespace cuda
}  // namespace drml
