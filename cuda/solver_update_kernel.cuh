// The kernels of the solvers' updates.
#pragma once

#include "elementwise.cuh"
#include "solver_update_rule.h"

namespace drml {
namespace cuda {

// One thread updates four weights at a time.
template <typename Rule>
__global__ void update_kernel(int64_t n, float* weight, const float* dweight, float* history,
                              Rule rule) {
  for_each_element(n, rule, weight, dweight, history);
}

// The same for solvers with two histories.
template <typename Rule>
__global__ void update2_kernel(int64_t n, float* weight, const float* dweight, float* history,
                               float* history2, Rule rule) {
  for_each_element(n, rule, weight, dweight, history, history2);
}

#ifdef DRML_KERNELS_ONLY
template __global__ void update_kernel(int64_t, float*, const float*, float*, SgdRule);
template __global__ void update_kernel(int64_t, float*, const float*, float*, NesterovRule);
template __global__ void update_kernel(int64_t, float*, const float*, float*, AdaGradRule);
template __global__ void update_kernel(int64_t, float*, const float*, float*, RmsPropRule);
template __global__ void update2_kernel(int64_t, float*, const float*, float*, float*,
                                        AdaDeltaRule);
template __global__ void update2_kernel(int64_t, float*, const float*, float*, float*, AdamRule);
#endif

}  // namespace cuda
}  // namespace drml
