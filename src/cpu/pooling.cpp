// MAX and AVE pooling over channels-last maps. By hand, because ops keep nothing between calls,
// where oneDNN's MAX wants its forward pass to hand a mask to the backward pass, and because
// Caffe's output size, which rounds up, and its divisor of AVE, a window's size within the padding,
// are not oneDNN's. Finding the maximum again costs less than to write and read a mask.
//
// Backward, a thread owns a band of dx's rows and adds up what all windows that reach into the band
// have for it, in the order of the windows: no two threads write to one place, and the results are
// the same bits for any number of threads.
#include <omp.h>

#include <algorithm>

#include "cpu/elementwise.h"
#include "cpu/pooling_kernel.h"
#include "ops.h"
#include "pooling_shape.h"

namespace drml {
namespace {

const PoolingKernels& kernels() {
#ifdef DRML_HAS_avx512
  if (best_isa() == Isa::avx512) return avx512::pooling_kernels;
  if (best_isa() == Isa::avx2) return avx2::pooling_kernels;
#endif
  return portable::pooling_kernels;
}

PoolingGeometry make_geometry(const PoolingShape& s) {
  return {s.channels,
          {s.size[0], s.size[1]},
          {s.windows[0], s.windows[1]},
          {s.kernel[0], s.kernel[1]},
          {s.stride[0], s.stride[1]},
          {s.pad[0], s.pad[1]}};
}

// Calls f(row, first, last) for the rows of windows that reach into rows [first, last) of a map;
// dx's rows are set to zero just before, while they are about to be in the cache.
template <typename F>
void for_windows(const PoolingGeometry& g, int64_t first, int64_t last, float* dx, F f) {
  const int64_t length = g.size[1] * g.channels;
  int64_t zeroed = first;
  const auto zero_to = [&](int64_t end) {
    if (end <= zeroed) return;
    std::fill(dx + zeroed * length, dx + end * length, 0.0f);
    zeroed = end;
  };
  const int64_t before =
      first + g.pad[0] - g.kernel[0];  // the last row that ends in time starts here
  const int64_t start = before < 0 ? 0 : before / g.stride[0] + 1;
  const int64_t end = std::min(g.windows[0], (last - 1 + g.pad[0]) / g.stride[0] + 1);
  for (int64_t row = start; row < end; ++row) {
    zero_to(std::min(last, row * g.stride[0] - g.pad[0] + g.kernel[0]));
    f(row, first, last);
  }
  zero_to(last);
}

}  // namespace

void cpu::pooling_forward(const Tensor& x, const Tensor& y, const PoolingAttrs& attrs) {
  const PoolingGeometry g = make_geometry(make_pooling_shape("pooling_forward", x, y, attrs));
  const auto kernel = attrs.max ? kernels().max_forward : kernels().ave_forward;
  const int64_t rows = y.dim(0) * g.windows[0];
#pragma omp parallel for schedule(static) if (x.size() > kParallelSize)
  for (int64_t row = 0; row < rows; ++row) {
    const float* map = x.data() + row / g.windows[0] * x.stride(0);
    kernel(g, row % g.windows[0], map, y.data() + row * g.windows[1] * g.channels);
  }
}

void cpu::pooling_mask(const Tensor& x, const Tensor& mask, const PoolingAttrs& attrs) {
  const PoolingGeometry g = make_geometry(make_mask_shape(x, mask, attrs));
  const int64_t windows = mask.dim(0) * g.windows[0] * g.windows[1];
#pragma omp parallel for schedule(static) if (x.size() > kParallelSize)
  for (int64_t window = 0; window < windows; ++window) {
    const int64_t in_map[2] = {window / g.windows[1] % g.windows[0], window % g.windows[1]};
    int64_t first[2];
    int64_t last[2];
    for (int axis = 0; axis < 2; ++axis) {
      const int64_t start = in_map[axis] * g.stride[axis] - g.pad[axis];
      first[axis] = std::max<int64_t>(start, 0);
      last[axis] = std::min(start + g.kernel[axis], g.size[axis]);
    }
    const float* map = x.data() + window / (g.windows[0] * g.windows[1]) * x.stride(0);
    for (int64_t c = 0; c < g.channels; ++c) {
      int64_t best = first[0] * g.size[1] + first[1];
      for (int64_t row = first[0]; row < last[0]; ++row) {
        for (int64_t column = first[1]; column < last[1]; ++column) {
          const int64_t at = row * g.size[1] + column;
          const float value = map[at * g.channels + c];
          const float largest = map[best * g.channels + c];
          if (value > largest || (value != value && largest == largest)) best = at;
        }
      }
      mask.data()[window * g.channels + c] = static_cast<float>(best);
    }
  }
}

void cpu::pooling_backward(const Tensor& x, const Tensor& dy, const Tensor& dx,
                           const PoolingAttrs& attrs) {
  const PoolingGeometry g = make_geometry(make_pooling_shape("pooling_backward", x, dy, attrs));
  check_same_layout("pooling_backward", x, dx);
  const PoolingKernels& kernel = kernels();
  const int64_t rows = x.dim(0) * g.size[0];
#pragma omp parallel if (x.size() > kParallelSize)
  {
    const int64_t end = rows * (omp_get_thread_num() + 1) / omp_get_num_threads();
    int64_t row = rows * omp_get_thread_num() / omp_get_num_threads();
    while (row < end) {
      const int64_t image = row / g.size[0];
      const int64_t first = row % g.size[0];
      const int64_t last = std::min(g.size[0], first + end - row);
      const float* x_map = x.data() + image * x.stride(0);
      float* dx_map = dx.data() + image * x.stride(0);
      for_windows(g, first, last, dx_map, [&](int64_t window, int64_t from, int64_t to) {
        const float* gradient =
            dy.data() + (image * g.windows[0] + window) * g.windows[1] * g.channels;
        if (attrs.max) {
          kernel.max_backward(g, window, from, to, x_map, gradient, dx_map);
        } else {
          kernel.ave_backward(g, window, from, to, gradient, dx_map);
        }
      });
      row += last - first;
    }
  }
}

}  // namespace drml
