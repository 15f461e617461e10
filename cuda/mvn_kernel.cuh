// Kernels of MVN: a team of kThreads goes over its row for each sum, and once more to write.
#pragma once

#include "lines.cuh"

namespace drml {
namespace cuda {

// Row-major rows.
struct MvnRows {
  int64_t count, length;
};

// Writes (x - mean) / (standard deviation + eps), and what is divided by; without `deviation`,
// x - mean.
template <int kThreads>
__global__ void mvn_forward_kernel(MvnRows rows, float eps, const float* x, float* y,
                                   float* __restrict__ deviation) {
  __shared__ double shared[32];
  const LineTeam<kThreads> team;
  for (int64_t row = team.first(); row < rows.count; row += team.stride()) {
    const float* from = x + row * rows.length;
    float* to = y + row * rows.length;
    double mean = 0;
    for (int64_t i = team.rank(); i < rows.length; i += kThreads) mean += from[i];
    mean = team.sum(mean, shared) / static_cast<double>(rows.length);
    float divisor = 1;
    if (deviation != nullptr) {
      double squares = 0;
      for (int64_t i = team.rank(); i < rows.length; i += kThreads) {
        squares += (from[i] - mean) * (from[i] - mean);
      }
      squares = team.sum(squares, shared) / static_cast<double>(rows.length);
      divisor = static_cast<float>(sqrt(squares)) + eps;
      if (team.rank() == 0) deviation[row] = divisor;
    }
    for (int64_t i = team.rank(); i < rows.length; i += kThreads) {
      to[i] = static_cast<float>(from[i] - mean) / divisor;
    }
  }
}

// dx = (dy - mean of dy - y * mean of (dy * y)) / deviation; without `deviation`, dy - mean of dy.
template <int kThreads>
__global__ void mvn_backward_kernel(MvnRows rows, const float* __restrict__ y, const float* dy,
                                    const float* __restrict__ deviation, float* dx) {
  __shared__ double shared[32];
  const LineTeam<kThreads> team;
  for (int64_t row = team.first(); row < rows.count; row += team.stride()) {
    const float* output = y + row * rows.length;
    const float* from = dy + row * rows.length;
    float* to = dx + row * rows.length;
    const double length = static_cast<double>(rows.length);
    double mean = 0;
    double along = 0;
    for (int64_t i = team.rank(); i < rows.length; i += kThreads) {
      mean += from[i];
      if (deviation != nullptr) along += static_cast<double>(from[i]) * output[i];
    }
    mean = team.sum(mean, shared) / length;
    along = team.sum(along, shared) / length;
    const float divisor = deviation == nullptr ? 1.0f : deviation[row];
    for (int64_t i = team.rank(); i < rows.length; i += kThreads) {
      to[i] = static_cast<float>(from[i] - mean - along * output[i]) / divisor;
    }
  }
}

#ifdef DRML_KERNELS_ONLY
template __global__ void mvn_forward_kernel<1>(MvnRows, float, const float*, float*, float*);
template __global__ void mvn_forward_kernel<kLineThreads>(MvnRows, float, const float*, float*,
                                                          float*);
template __global__ void mvn_backward_kernel<1>(MvnRows, const float*, const float*, const float*,
                                                float*);
template __global__ void mvn_backward_kernel<kLineThreads>(MvnRows, const float*, const float*,
                                                           const float*, float*);
#endif

}  // namespace cuda
}  // namespace drml
