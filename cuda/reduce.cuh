// Sums and maxima over the threads of a block, in an order that never changes.
#pragma once

#include "portable.h"

namespace drml {
namespace cuda {

struct Add {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

struct Max {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

// Combines `value` over the 32 lanes of a warp; every lane gets the same bits, since both partners
// of an exchange combine the same two numbers.
template <typename T, typename Combine>
__device__ inline T warp_reduce(T value, Combine combine) {
  for (int step = 16; step > 0; step >>= 1) {
    value = combine(value, __shfl_xor_sync(0xffffffffu, value, step));
  }
  return value;
}

// Combines `value` over a one-dimensional block of whole warps; valid in every thread. `shared`
// holds 32 numbers, which are free again on return.
template <typename T, typename Combine>
__device__ inline T block_reduce(T value, T* shared, Combine combine) {
  value = warp_reduce(value, combine);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  value = shared[0];
  for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) value = combine(value, shared[warp]);
  __syncthreads();
  return value;
}

template <typename T>
__device__ inline T warp_sum(T value) {
  return warp_reduce(value, Add());
}

template <typename T>
__device__ inline T block_sum(T value, T* shared) {
  return block_reduce(value, shared, Add());
}

template <typename T>
__device__ inline T block_max(T value, T* shared) {
  return block_reduce(value, shared, Max());
}

}  // namespace cuda
}  // namespace drml
