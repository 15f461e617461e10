// Kernels of pooling. Backward, an input gathers from the windows that contain it: no two threads
// write to one place, and the sum's order is that of the windows. No mask tells where a maximum
// was: whether an input is the maximum of its window is found out again from x.
#pragma once

#include "portable.h"

namespace drml {
namespace cuda {

// Pairs are rows, columns.
struct PoolingSizes {
  int size[2];  // of the map that the windows run over
  int windows[2];
  int kernel[2], stride[2], pad[2];
};

// Where element number `index` of maps of size[0] x size[1] lies, one map behind the other.
struct MapPlace {
  int64_t map;
  int row, column;

  __device__ MapPlace(int64_t index, const int (&size)[2]) : map(index / (size[0] * size[1])) {
    const int pixel = static_cast<int>(index - map * (size[0] * size[1]));
    row = pixel / size[1];
    column = pixel - row * size[1];
  }
};

// The part of one axis that a window covers.
struct WindowSpan {
  int first, last;
  int divisor;  // its length, cut at the far border of the padding

  __device__ WindowSpan(const PoolingSizes& s, int axis, int window) {
    const int start = window * s.stride[axis] - s.pad[axis];
    const int end = start + s.kernel[axis];
    first = max(start, 0);
    last = min(end, s.size[axis]);
    divisor = min(end, s.size[axis] + s.pad[axis]) - start;
  }
};

// The windows of one axis that contain a place: [first, last).
struct Containing {
  int first, last;

  __device__ Containing(const PoolingSizes& s, int axis, int place) {
    const int padded = place + s.pad[axis];
    first = padded < s.kernel[axis] ? 0 : (padded - s.kernel[axis]) / s.stride[axis] + 1;
    last = min(padded / s.stride[axis] + 1, s.windows[axis]);
  }
};

// One thread finds the maximum of one window; NaN if the window holds one.
__global__ void max_pooling_forward_kernel(PoolingSizes s, int64_t n, const float* __restrict__ x,
                                           float* __restrict__ y) {
  DRML_GRID_LOOP(i, n) {
    const MapPlace window(i, s.windows);
    const WindowSpan rows(s, 0, window.row);
    const WindowSpan columns(s, 1, window.column);
    const float* map = x + window.map * s.size[0] * s.size[1];
    float best = map[rows.first * s.size[1] + columns.first];
    for (int row = rows.first; row < rows.last; ++row) {
      for (int column = columns.first; column < columns.last; ++column) {
        const float value = map[row * s.size[1] + column];
        if (value > best || value != value) best = value;
      }
    }
    y[i] = best;
  }
}

// One thread finds where in its plane the maximum of one window stands, or its first NaN.
__global__ void max_pooling_mask_kernel(PoolingSizes s, int64_t n, const float* __restrict__ x,
                                        float* __restrict__ mask) {
  DRML_GRID_LOOP(i, n) {
    const MapPlace window(i, s.windows);
    const WindowSpan rows(s, 0, window.row);
    const WindowSpan columns(s, 1, window.column);
    const float* map = x + window.map * s.size[0] * s.size[1];
    int place = rows.first * s.size[1] + columns.first;
    float best = map[place];
    for (int row = rows.first; row < rows.last; ++row) {
      for (int column = columns.first; column < columns.last; ++column) {
        const float value = map[row * s.size[1] + column];
        if (value > best || (value != value && best == best)) {
          best = value;
          place = row * s.size[1] + column;
        }
      }
    }
    mask[i] = static_cast<float>(place);
  }
}

// One thread computes the mean of one window.
__global__ void ave_pooling_forward_kernel(PoolingSizes s, int64_t n, const float* __restrict__ x,
                                           float* __restrict__ y) {
  DRML_GRID_LOOP(i, n) {
    const MapPlace window(i, s.windows);
    const WindowSpan rows(s, 0, window.row);
    const WindowSpan columns(s, 1, window.column);
    const float* map = x + window.map * s.size[0] * s.size[1];
    float sum = 0;
    for (int row = rows.first; row < rows.last; ++row) {
      for (int column = columns.first; column < columns.last; ++column) {
        sum += map[row * s.size[1] + column];
      }
    }
    y[i] = sum / static_cast<float>(rows.divisor * columns.divisor);
  }
}

// Whether the number at `place` of a map is its window's first maximum, or its first NaN. Most
// numbers are beaten soon, so that large windows cost little more than small ones.
__device__ inline bool is_first_maximum(const PoolingSizes& s, const WindowSpan& rows,
                                        const WindowSpan& columns, const float* map, int place) {
  const float value = map[place];
  const bool is_nan = value != value;
  for (int row = rows.first; row < rows.last; ++row) {
    for (int column = columns.first; column < columns.last; ++column) {
      const int at = row * s.size[1] + column;
      const float other = map[at];
      if (at < place && (other != other || other >= value)) return false;
      if (at > place && !is_nan && (other != other || other > value)) return false;
    }
  }
  return true;
}

// One thread computes the gradient of one input.
__global__ void max_pooling_backward_kernel(PoolingSizes s, int64_t n, const float* __restrict__ x,
                                            const float* __restrict__ dy, float* __restrict__ dx) {
  DRML_GRID_LOOP(i, n) {
    const MapPlace input(i, s.size);
    const Containing rows(s, 0, input.row);
    const Containing columns(s, 1, input.column);
    const float* map = x + input.map * s.size[0] * s.size[1];
    const float* gradient = dy + input.map * s.windows[0] * s.windows[1];
    float sum = 0;
    for (int row = rows.first; row < rows.last; ++row) {
      for (int column = columns.first; column < columns.last; ++column) {
        if (is_first_maximum(s, WindowSpan(s, 0, row), WindowSpan(s, 1, column), map,
                             input.row * s.size[1] + input.column)) {
          sum += gradient[row * s.windows[1] + column];
        }
      }
    }
    dx[i] = sum;
  }
}

// One thread computes the gradient of one input.
__global__ void ave_pooling_backward_kernel(PoolingSizes s, int64_t n, const float* __restrict__ dy,
                                            float* __restrict__ dx) {
  DRML_GRID_LOOP(i, n) {
    const MapPlace input(i, s.size);
    const Containing rows(s, 0, input.row);
    const Containing columns(s, 1, input.column);
    const float* gradient = dy + input.map * s.windows[0] * s.windows[1];
    float sum = 0;
    for (int row = rows.first; row < rows.last; ++row) {
      const int height = WindowSpan(s, 0, row).divisor;
      for (int column = columns.first; column < columns.last; ++column) {
        const int area = height * WindowSpan(s, 1, column).divisor;
        sum += gradient[row * s.windows[1] + column] / static_cast<float>(area);
      }
    }
    dx[i] = sum;
  }
}

}  // namespace cuda
}  // namespace drml
