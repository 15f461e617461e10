// What lrn.cpp asks of the instruction sets: work on runs of numbers in the first cache.
#pragma once

#include <cstdint>

#include "cpu/simd.h"

namespace drml {

// y = x * s^-beta, s = k + scale * (sum of x^2 over a window of `size` neighbours).
struct LrnGeometry {
  int64_t channels;
  int64_t size;
  float k;
  float scale;  // alpha divided by the number of neighbours
  float beta;
};

struct LrnKernels {
  // Numbers of scratch memory that across_forward and across_backward need; zeros at first, and
  // then to be handed on from call to call untouched.
  int64_t (*across_scratch)(const LrnGeometry&);
  // Windows run along the channels of each of `pixels` pixels.
  void (*across_forward)(const LrnGeometry&, int64_t pixels, const float* x, float* scratch,
                         float* y);
  void (*across_backward)(const LrnGeometry&, int64_t pixels, const float* x, const float* dy,
                          float* scratch, float* dx);

  // sum += x^2, and sum += x, number by number: the columns of the windows of one row of a map.
  void (*add_squares)(int64_t count, const float* x, float* sum);
  void (*add)(int64_t count, const float* x, float* sum);
  // One row of `count` numbers, pixel by pixel. `squares` and `ratios` are sums over the columns
  // of the windows, with size / 2 pixels of zeros to the left and to the right.
  void (*within_forward)(const LrnGeometry&, int64_t count, const float* x, const float* squares,
                         float* y);
  // power = s^-beta and ratio = dy * x * s^(-beta - 1): what the gradients of a row and of its
  // neighbours are made of.
  void (*within_ratio)(const LrnGeometry&, int64_t count, const float* x, const float* dy,
                       const float* squares, float* power, float* ratio);
  // dx may be the same memory as power.
  void (*within_backward)(const LrnGeometry&, int64_t count, const float* x, const float* dy,
                          const float* power, const float* ratios, float* dx);
};

namespace portable {
extern const LrnKernels lrn_kernels;
}
namespace avx2 {
extern const LrnKernels lrn_kernels;
}
namespace avx512 {
extern const LrnKernels lrn_kernels;
}

}  // namespace drml
