// The loop of kernels that compute element after element of arrays that lie alike in memory.
#pragma once

#include "portable.h"

namespace drml {
namespace cuda {

// Four neighbouring elements of an array, read at once; those of a const array are not written.
template <typename T>
struct Quad;

template <>
struct Quad<const float> {
  __device__ Quad(const float* array, int64_t index)
      : v(reinterpret_cast<const float4*>(array)[index]) {}
  __device__ void store() const {}

  const float4 v;
};

template <>
struct Quad<float> {
  __device__ Quad(float* array, int64_t index)
      : place(reinterpret_cast<float4*>(array) + index), v(*place) {}
  __device__ void store() const { *place = v; }

  float4* place;
  float4 v;
};

template <typename F, typename... T>
__device__ inline void visit_quad(F f, Quad<T>... quad) {
  f(quad.v.x...);
  f(quad.v.y...);
  f(quad.v.z...);
  f(quad.v.w...);
  const int stored[] = {(quad.store(), 0)...};
  static_cast<void>(stored);
}

template <typename... T>
__device__ inline bool hold_quads(T*... array) {
  uint64_t address = 0;
  const uint64_t all[] = {(address |= reinterpret_cast<uint64_t>(array))...};
  static_cast<void>(all);
  return address % sizeof(float4) == 0;
}

// Calls f(array[i]...) for 0 <= i < n, shared out over all threads of a one-dimensional launch. f
// takes elements that it changes by reference. The arrays may be the same memory. A value that f
// sets and does not look at costs no read: the compiler drops it.
template <typename F, typename... T>
__device__ inline void for_each_element(int64_t n, F f, T*... array) {
  const int64_t quads = hold_quads(array...) ? n / 4 : 0;
  DRML_GRID_LOOP(i, quads) visit_quad(f, Quad<T>(array, i)...);
  DRML_GRID_LOOP(i, n - 4 * quads) f(array[4 * quads + i]...);
}

}  // namespace cuda
}  // namespace drml
