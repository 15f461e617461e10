// Kernels of copy, add and fill for any strides, of scaling and of sums.
#pragma once

#include "elementwise.cuh"
#include "reduce.cuh"
#include "strided.cuh"

namespace drml {
namespace cuda {

// What becomes of an element of y, given the element of x.
struct Assign {
  __device__ void operator()(float x, float& y) const { y = x; }
};

struct Accumulate {
  __device__ void operator()(float x, float& y) const { y += x; }
};

struct Set {
  __device__ void operator()(float, float& y) const { y = value; }

  float value;
};

struct Multiply {
  __device__ void operator()(float x, float& y) const { y = alpha * x; }

  float alpha;
};

struct Combine {
  __device__ void operator()(float x, float& y) const { y = alpha * x + beta * y; }

  float alpha;
  float beta;
};

// For arrays that lie alike, without gaps: one thread visits four elements at a time.
template <typename F>
__global__ void flat_kernel(int64_t n, const float* x, float* y, F f) {
  for_each_element(n, f, x, y);
}

// For any strides: one thread visits one element at a time. Axes are in the order of y's memory.
template <typename F>
__global__ void strided_kernel(Strided<2> layout, int64_t n, const float* x, float* y, F f) {
  DRML_GRID_LOOP(i, n) {
    int64_t at[2];
    layout.locate(i, at);
    f(x[at[0]], y[at[1]]);
  }
}

// A transposition: rows of `width` neighbours in x are columns in y, which has `height` neighbours
// in a row; and so for every index of the outer axes.
struct Transposition {
  int64_t width;
  int64_t height;
  int64_t x_step;  // from row to row of x
  int64_t y_step;  // from row to row of y
  int tile_width;
  int tile_height;
  int64_t tiles_across;
  int64_t tiles_down;
  int64_t tiles;  // in all
  Strided<2> outer;
};

constexpr int kTile = 32;
// A tile as narrow as two is kTile * kTile / 2 high, and its rows are padded to three.
constexpr int kTileFloats = kTile * kTile * 3 / 2;

// One block reads a tile along x's rows into shared memory and visits y along y's rows.
template <typename F>
__global__ void transpose_kernel(Transposition g, const float* x, float* y, F f) {
  __shared__ float tile[kTileFloats];
  const int pitch = g.tile_width | 1;  // odd, so that a column's elements lie in different banks
  const int size = g.tile_width * g.tile_height;
  for (int64_t number = blockIdx.x; number < g.tiles; number += gridDim.x) {
    const int64_t left = number % g.tiles_across * g.tile_width;
    const int64_t top = number / g.tiles_across % g.tiles_down * g.tile_height;
    int64_t at[2];
    g.outer.locate(number / g.tiles_across / g.tiles_down, at);
    const float* from = x + at[0] + top * g.x_step + left;
    float* to = y + at[1] + left * g.y_step + top;
    for (int i = threadIdx.x; i < size; i += blockDim.x) {
      const int row = i / g.tile_width;
      const int column = i % g.tile_width;
      if (top + row < g.height && left + column < g.width) {
        tile[row * pitch + column] = from[row * g.x_step + column];
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < size; i += blockDim.x) {
      const int row = i % g.tile_height;
      const int column = i / g.tile_height;
      if (top + row < g.height && left + column < g.width) {
        f(tile[row * pitch + column], to[column * g.y_step + row]);
      }
    }
    __syncthreads();
  }
}

// `length` elements in a row have one divisor. One thread computes one element, and comes round
// again; y may be x.
__global__ void divide_kernel(int64_t n, int64_t length, const float* x,
                              const float* __restrict__ divisor, float* y) {
  DRML_GRID_LOOP(i, n) {
    const float by = divisor[i / length];
    y[i] = by == 0 ? 0 : x[i] / by;
  }
}

// What an element of x adds to a sum.
struct Square {
  __device__ double operator()(float x) const { return static_cast<double>(x) * x; }
};

struct Magnitude {
  __device__ double operator()(float x) const { return fabsf(x); }
};

// 0 for a finite x and NaN otherwise.
struct TimesZero {
  __device__ double operator()(float x) const { return x * 0.0f; }
};

// One block sums a share of x. Sums are double throughout, at two double operations for four bytes
// read: clipping is for gradients whose squares may overflow a float.
template <typename F>
__global__ void sum_kernel(int64_t n, const float* x, double* partial, F f) {
  __shared__ double shared[32];
  double sum = 0;
  for_each_element(n, [&sum, f](float value) { sum += f(value); }, x);
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// The one block adds the sums of the others.
__global__ void total_kernel(int count, const double* partial, double* total) {
  __shared__ double shared[32];
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += partial[i];
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) *total = sum;
}

#ifdef DRML_KERNELS_ONLY
template __global__ void flat_kernel(int64_t, const float*, float*, Assign);
template __global__ void flat_kernel(int64_t, const float*, float*, Accumulate);
template __global__ void flat_kernel(int64_t, const float*, float*, Set);
template __global__ void flat_kernel(int64_t, const float*, float*, Multiply);
template __global__ void flat_kernel(int64_t, const float*, float*, Combine);
template __global__ void strided_kernel(Strided<2>, int64_t, const float*, float*, Assign);
template __global__ void strided_kernel(Strided<2>, int64_t, const float*, float*, Accumulate);
template __global__ void strided_kernel(Strided<2>, int64_t, const float*, float*, Set);
template __global__ void transpose_kernel(Transposition, const float*, float*, Assign);
template __global__ void transpose_kernel(Transposition, const float*, float*, Accumulate);
template __global__ void sum_kernel(int64_t, const float*, double*, Square);
template __global__ void sum_kernel(int64_t, const float*, double*, Magnitude);
template __global__ void sum_kernel(int64_t, const float*, double*, TimesZero);
#endif

}  // namespace cuda
}  // namespace drml
