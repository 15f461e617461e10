// Kernels around the matrix products of convolution and inner product: im2col and col2im, as Caffe
// has them, and biases.
//
// The columns of some images are a matrix: one row for each tap of each channel, and in it one
// number for each place of the output, one image behind the other. A number is what the tap sees
// from that place.
#pragma once

#include "reduce.cuh"

namespace drml {
namespace cuda {

// Pairs are rows, columns.
struct ColumnSizes {
  int channels;
  int size[2];    // of a map
  int places[2];  // of the output
  int kernel[2], stride[2], pad[2], dilation[2];
  int64_t row;  // from one row of the matrix to the next

  // Of the taps that see one number of a map, from one to the next: how many taps it is further on,
  // and how many places the output that sees the number by this tap is further back.
  int tap_step[2], place_step[2];
};

// One thread computes what all taps of one channel see from one place; blockIdx.y is the image.
__global__ void im2col_kernel(ColumnSizes s, const float* __restrict__ x,
                              float* __restrict__ columns) {
  const int places = s.places[0] * s.places[1];
  x += static_cast<int64_t>(blockIdx.y) * s.channels * s.size[0] * s.size[1];
  columns += static_cast<int64_t>(blockIdx.y) * places;
  DRML_GRID_LOOP(i, s.channels * places) {
    const int channel = static_cast<int>(i) / places;
    const int place = static_cast<int>(i) - channel * places;
    const int top = place / s.places[1] * s.stride[0] - s.pad[0];
    const int left = place % s.places[1] * s.stride[1] - s.pad[1];
    const float* map = x + channel * (s.size[0] * s.size[1]);
    float* to = columns + channel * s.row * (s.kernel[0] * s.kernel[1]) + place;
    for (int row_tap = 0; row_tap < s.kernel[0]; ++row_tap) {
      const int row = top + row_tap * s.dilation[0];
      for (int column_tap = 0; column_tap < s.kernel[1]; ++column_tap) {
        const int column = left + column_tap * s.dilation[1];
        const bool inside = row >= 0 && row < s.size[0] && column >= 0 && column < s.size[1];
        *to = inside ? map[row * s.size[1] + column] : 0.0f;
        to += s.row;
      }
    }
  }
}

// The first tap of an axis that sees number `at` of it, and from which place; the place may lie
// outside the output. Without such a tap, `tap` is the number of taps.
struct FirstTap {
  int tap, place;

  __device__ FirstTap(const ColumnSizes& s, int axis, int at) : tap(0), place(0) {
    const int padded = at + s.pad[axis];
    const int end = min(s.tap_step[axis], s.kernel[axis]);
    while (tap < end && (padded - tap * s.dilation[axis]) % s.stride[axis] != 0) ++tap;
    if (tap == end) {
      tap = s.kernel[axis];
    } else {
      place = (padded - tap * s.dilation[axis]) / s.stride[axis];
    }
  }
};

// One thread sums what all taps saw of one number of x; blockIdx.y is the image.
__global__ void col2im_kernel(ColumnSizes s, const float* __restrict__ columns,
                              float* __restrict__ x) {
  const int pixels = s.size[0] * s.size[1];
  x += static_cast<int64_t>(blockIdx.y) * s.channels * pixels;
  columns += static_cast<int64_t>(blockIdx.y) * s.places[0] * s.places[1];
  DRML_GRID_LOOP(i, s.channels * pixels) {
    const int channel = static_cast<int>(i) / pixels;
    const int pixel = static_cast<int>(i) - channel * pixels;
    FirstTap row(s, 0, pixel / s.size[1]);
    const FirstTap first(s, 1, pixel % s.size[1]);
    const float* seen = columns + channel * s.row * (s.kernel[0] * s.kernel[1]);
    float sum = 0;
    for (; row.tap < s.kernel[0]; row.tap += s.tap_step[0], row.place -= s.place_step[0]) {
      if (row.place < 0 || row.place >= s.places[0]) continue;
      const float* line = seen + s.row * (row.tap * s.kernel[1]) + row.place * s.places[1];
      int place = first.place;
      for (int tap = first.tap; tap < s.kernel[1]; tap += s.tap_step[1]) {
        if (place >= 0 && place < s.places[1]) sum += line[s.row * tap + place];
        place -= s.place_step[1];
      }
    }
    x[i] = sum;
  }
}

// Sets the rows of y to biases: each number of a row to its own, or all numbers of row r to that of
// output r % outputs. One thread sets one number, in every row that blockIdx.y comes to.
template <bool kByRow>
__global__ void fill_bias_kernel(int64_t rows, int length, int outputs,
                                 const float* __restrict__ bias, float* __restrict__ y) {
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    DRML_GRID_LOOP(i, length) { y[row * length + i] = bias[kByRow ? row % outputs : i]; }
  }
}

// One block sums one plane of y.
__global__ void plane_sums_kernel(int64_t planes, int length, const float* __restrict__ y,
                                  float* __restrict__ sums) {
  __shared__ float shared[32];
  for (int64_t plane = blockIdx.x; plane < planes; plane += gridDim.x) {
    float sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < length; i += static_cast<int>(blockDim.x)) {
      sum += y[plane * length + i];
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) sums[plane] = sum;
  }
}

#ifdef DRML_KERNELS_ONLY
template __global__ void fill_bias_kernel<true>(int64_t, int, int, const float* __restrict__,
                                                float* __restrict__);
template __global__ void fill_bias_kernel<false>(int64_t, int, int, const float* __restrict__,
                                                 float* __restrict__);
#endif

}  // namespace cuda
}  // namespace drml
