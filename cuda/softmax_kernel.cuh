// Kernels of the softmax along one axis.
#pragma once

#include "lines.cuh"

namespace drml {
namespace cuda {

// A team of kThreads per line. y may be x.
template <int kThreads>
__global__ void softmax_forward_kernel(LinePlaces lines, const float* x, float* y) {
  __shared__ float shared[32];
  const LineTeam<kThreads> team;
  for (int64_t line = team.first(); line < lines.count; line += team.stride()) {
    const float* px = x + lines.start(line);
    float* py = y + lines.start(line);
    float greatest = px[0];
    for (int64_t i = team.rank(); i < lines.length; i += kThreads) {
      greatest = fmaxf(greatest, px[i * lines.step]);
    }
    greatest = team.max(greatest, shared);
    float sum = 0;
    for (int64_t i = team.rank(); i < lines.length; i += kThreads) {
      const float e = expf(px[i * lines.step] - greatest);
      py[i * lines.step] = e;
      sum += e;
    }
    sum = team.sum(sum, shared);
    for (int64_t i = team.rank(); i < lines.length; i += kThreads) py[i * lines.step] /= sum;
  }
}

// A team of kThreads per line. dx may be dy.
template <int kThreads>
__global__ void softmax_backward_kernel(LinePlaces lines, const float* y, const float* dy,
                                        float* dx) {
  __shared__ float shared[32];
  const LineTeam<kThreads> team;
  for (int64_t line = team.first(); line < lines.count; line += team.stride()) {
    const int64_t start = lines.start(line);
    float dot = 0;
    for (int64_t i = team.rank(); i < lines.length; i += kThreads) {
      const int64_t at = start + i * lines.step;
      dot += y[at] * dy[at];
    }
    dot = team.sum(dot, shared);
    for (int64_t i = team.rank(); i < lines.length; i += kThreads) {
      const int64_t at = start + i * lines.step;
      dx[at] = (dy[at] - dot) * y[at];
    }
  }
}

#ifdef DRML_KERNELS_ONLY
template __global__ void softmax_forward_kernel<1>(LinePlaces, const float*, float*);
template __global__ void softmax_forward_kernel<kLineThreads>(LinePlaces, const float*, float*);
template __global__ void softmax_backward_kernel<1>(LinePlaces, const float*, const float*, float*);
template __global__ void softmax_backward_kernel<kLineThreads>(LinePlaces, const float*,
                                                               const float*, float*);
#endif

}  // namespace cuda
}  // namespace drml
