// The lines of an array along one axis, and the threads that work on a line together.
#pragma once

#include "reduce.cuh"
#include "strided.cuh"

namespace drml {
namespace cuda {

// Lines are numbered in the order of the other axes.
struct LinePlaces {
  Strided<1> starts;
  int64_t count;
  int64_t length;
  int64_t step;  // from one element of a line to the next

  __device__ int64_t start(int64_t line) const { return starts.place(line); }
};

constexpr int kLineThreads = 128;

// The threads of a line: one alone, or, of long lines, a block of kThreads. A launch's lines are
// those from first() on, stride() apart.
template <int kThreads>
struct LineTeam {
  __device__ int64_t first() const { return blockIdx.x; }
  __device__ int64_t stride() const { return gridDim.x; }
  __device__ int rank() const { return static_cast<int>(threadIdx.x); }
  template <typename T>
  __device__ T sum(T value, T* shared) const {
    return block_sum(value, shared);
  }
  template <typename T>
  __device__ T max(T value, T* shared) const {
    return block_max(value, shared);
  }
};

template <>
struct LineTeam<1> {
  __device__ int64_t first() const {
    return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  }
  __device__ int64_t stride() const { return static_cast<int64_t>(gridDim.x) * blockDim.x; }
  __device__ int rank() const { return 0; }
  template <typename T>
  __device__ T sum(T value, T*) const {
    return value;
  }
  template <typename T>
  __device__ T max(T value, T*) const {
    return value;
  }
};

}  // namespace cuda
}  // namespace drml
