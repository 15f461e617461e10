// Kernels of PReLU.
#pragma once

#include "broadcast.cuh"

namespace drml {
namespace cuda {

// One thread computes several numbers of a line. y may be x.
__global__ void prelu_forward_kernel(BroadcastLines lines, const float* x,
                                     const float* __restrict__ slope, float* y) {
  for_each_number(
      lines, [=](int64_t p) { return slope[p]; },
      [=](int64_t i, float below) { y[i] = x[i] > 0 ? x[i] : below * x[i]; });
}

// As above. dx may be dy.
__global__ void prelu_backward_kernel(BroadcastLines lines, const float* x,
                                      const float* __restrict__ slope, const float* dy, float* dx) {
  for_each_number(
      lines, [=](int64_t p) { return slope[p]; },
      [=](int64_t i, float below) { dx[i] = x[i] > 0 ? dy[i] : below * dy[i]; });
}

// partial = sums of x * dy over the numbers that are not positive, and nothing; one block, or
// thread, sums a part of a group.
template <bool kByBlock>
__global__ void prelu_sums_kernel(BroadcastGroups groups, const float* __restrict__ x,
                                  const float* __restrict__ dy, float2* __restrict__ partial) {
  sum_pairs<kByBlock>(
      groups, [=](int64_t i, int64_t) { return make_float2(x[i] > 0 ? 0.0f : x[i] * dy[i], 0.0f); },
      partial);
}

// One thread adds a group's sum to dslope.
__global__ void prelu_add_sums_kernel(BroadcastGroups groups, const float2* __restrict__ partial,
                                      float* __restrict__ dslope) {
  add_group_sums(groups, partial, dslope, nullptr);
}

#ifdef DRML_KERNELS_ONLY
template __global__ void prelu_sums_kernel<false>(BroadcastGroups, const float*, const float*,
                                                  float2*);
template __global__ void prelu_sums_kernel<true>(BroadcastGroups, const float*, const float*,
                                                 float2*);
#endif

}  // namespace cuda
}  // namespace drml
