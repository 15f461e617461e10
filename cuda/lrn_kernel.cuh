// Kernels of local response normalization over row-major maps.
//
// y = x * s^-beta, s = k + scale * (sum of x^2 over a window). The backward pass computes s again,
// which costs less than to write it to memory in the forward pass and to read it back. Windows are
// summed afresh around every number: a running sum would keep the rounding of a large square when
// the square has left the window.
#pragma once

#include "portable.h"

namespace drml {
namespace cuda {

struct LrnStrength {
  float k;
  float scale;  // alpha divided by the number of neighbours
  float beta;

  __device__ float of(float squares) const { return k + scale * squares; }

  // s^-beta; 0.75 is what almost every net uses.
  __device__ float power(float s) const {
    if (beta != 0.75f) return powf(s, -beta);
    const float root = rsqrtf(s);
    return root * sqrtf(root);
  }

  // What a number gives to the gradients of its neighbours.
  __device__ float ratio(float x, float dy, float s, float power) const {
    return dy * x * (power / s);
  }

  // Times x and the sum of the ratios over x's window: what they take from dy * s^-beta.
  __device__ float factor() const { return 2 * scale * beta; }
};

// Windows of five channels, the size of almost every net: a thread walks the channels of a pixel
// and keeps the last five in registers.

constexpr int kLrnSize = 5;
constexpr int kLrnReach = kLrnSize / 2;
constexpr int kLrnChannels = 16;  // that one thread computes

struct LrnMap {
  int64_t pixels;  // of all images
  int64_t channels;
  int64_t area;  // pixels of an image
};

// The last kCount numbers that were pushed, the oldest first.
template <int kCount>
struct LrnRegisters {
  float value[kCount];

  __device__ LrnRegisters() {
#pragma unroll
    for (int i = 0; i < kCount; ++i) value[i] = 0;
  }

  __device__ void push(float next) {
#pragma unroll
    for (int i = 1; i < kCount; ++i) value[i - 1] = value[i];
    value[kCount - 1] = next;
  }

  __device__ float sum() const {
    float sum = value[0];
#pragma unroll
    for (int i = 1; i < kCount; ++i) sum += value[i];
    return sum;
  }

  __device__ float sum_squares() const {
    float sum = value[0] * value[0];
#pragma unroll
    for (int i = 1; i < kCount; ++i) sum += value[i] * value[i];
    return sum;
  }
};

// The channels of a pixel that one thread computes.
struct LrnWalk {
  __device__ explicit LrnWalk(const LrnMap& map)
      : pixel(static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x),
        start(pixel / map.area * map.area * map.channels + pixel % map.area),
        first(static_cast<int64_t>(blockIdx.y) * kLrnChannels),
        end(first + kLrnChannels < map.channels ? first + kLrnChannels : map.channels) {}

  int64_t pixel;
  int64_t start;  // of channel 0
  int64_t first;
  int64_t end;
};

// One thread computes up to kLrnChannels channels of one pixel.
__global__ void lrn_across_forward_kernel(LrnMap map, LrnStrength strength,
                                          const float* __restrict__ x, float* __restrict__ y) {
  const LrnWalk walk(map);
  if (walk.pixel >= map.pixels) return;
  LrnRegisters<kLrnSize> near;
#pragma unroll kLrnSize
  for (int64_t c = walk.first - kLrnReach; c < walk.end + kLrnReach; ++c) {
    near.push(c >= 0 && c < map.channels ? x[walk.start + c * map.area] : 0);
    const int64_t out = c - kLrnReach;
    if (out < walk.first) continue;
    const float s = strength.of(near.sum_squares());
    y[walk.start + out * map.area] = near.value[kLrnReach] * strength.power(s);
  }
}

// One thread computes up to kLrnChannels channels of one pixel: with channel c at hand it knows s
// and the ratio of channel c - kLrnReach, and with them dx of channel c - 2 * kLrnReach.
__global__ void __launch_bounds__(256)
    lrn_across_backward_kernel(LrnMap map, LrnStrength strength, const float* __restrict__ x,
                               const float* __restrict__ dy, float* __restrict__ dx) {
  const LrnWalk walk(map);
  if (walk.pixel >= map.pixels) return;
  const float factor = strength.factor();
  LrnRegisters<kLrnSize> near;
  LrnRegisters<kLrnSize> ratios;
  LrnRegisters<kLrnReach + 1> scaled;  // dy * s^-beta
#pragma unroll kLrnSize
  for (int64_t c = walk.first - 2 * kLrnReach; c < walk.end + 2 * kLrnReach; ++c) {
    near.push(c >= 0 && c < map.channels ? x[walk.start + c * map.area] : 0);
    const int64_t middle = c - kLrnReach;
    float gradient = 0;
    if (middle >= 0 && middle >= walk.first - kLrnReach && middle < map.channels) {
      gradient = dy[walk.start + middle * map.area];
    }
    const float s = strength.of(near.sum_squares());
    const float power = strength.power(s);
    ratios.push(strength.ratio(near.value[kLrnReach], gradient, s, power));
    scaled.push(gradient * power);
    const int64_t out = c - 2 * kLrnReach;
    if (out < walk.first) continue;
    dx[walk.start + out * map.area] = scaled.value[0] - near.value[0] * factor * ratios.sum();
  }
}

// Windows of any kind: a thread sums the window of its number.

// The axes that windows extend along, as rows and columns: the rows and columns of a map for
// windows within a channel; for windows across channels, these are the rows, of one column each.
struct LrnWindow {
  int64_t rows;
  int64_t columns;
  int64_t row_stride;
  int64_t row_reach;
  int64_t column_reach;

  // The sum of f(j) over the numbers j in the window around number i.
  template <typename F>
  __device__ float sum(int64_t i, F f) const {
    const int64_t row = i / row_stride % rows;
    const int64_t column = i % columns;
    const int64_t above = row < row_reach ? row : row_reach;
    const int64_t below = rows - 1 - row < row_reach ? rows - 1 - row : row_reach;
    const int64_t left = column < column_reach ? column : column_reach;
    const int64_t right = columns - 1 - column < column_reach ? columns - 1 - column : column_reach;
    float sum = 0;
    for (int64_t down = -above; down <= below; ++down) {
      for (int64_t aside = -left; aside <= right; ++aside) sum += f(i + down * row_stride + aside);
    }
    return sum;
  }

  __device__ float sum_squares(int64_t i, const float* x) const {
    return sum(i, [=](int64_t j) { return x[j] * x[j]; });
  }
};

// One thread computes one number, and comes round again.
__global__ void lrn_forward_kernel(int64_t n, LrnWindow window, LrnStrength strength,
                                   const float* __restrict__ x, float* __restrict__ y) {
  DRML_GRID_LOOP(i, n) y[i] = x[i] * strength.power(strength.of(window.sum_squares(i, x)));
}

// dx = dy * s^-beta, what a number's gradient owes to the number itself, and the ratios. One thread
// computes one number, and comes round again.
__global__ void lrn_ratio_kernel(int64_t n, LrnWindow window, LrnStrength strength,
                                 const float* __restrict__ x, const float* __restrict__ dy,
                                 float* __restrict__ ratio, float* __restrict__ dx) {
  DRML_GRID_LOOP(i, n) {
    const float s = strength.of(window.sum_squares(i, x));
    const float power = strength.power(s);
    dx[i] = dy[i] * power;
    ratio[i] = strength.ratio(x[i], dy[i], s, power);
  }
}

// Takes from dx what a number's gradient owes to its neighbours. One thread computes one number,
// and comes round again.
__global__ void lrn_backward_kernel(int64_t n, LrnWindow window, LrnStrength strength,
                                    const float* __restrict__ x, const float* __restrict__ ratio,
                                    float* __restrict__ dx) {
  DRML_GRID_LOOP(i, n) {
    const float sum = window.sum(i, [=](int64_t j) { return ratio[j]; });
    dx[i] -= x[i] * strength.factor() * sum;
  }
}

}  // namespace cuda
}  // namespace drml
