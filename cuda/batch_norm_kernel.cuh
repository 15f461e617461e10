// Kernels of batch normalization, for a tensor of any axes whose axis 1 are the channels.
#pragma once

#include "broadcast.cuh"

namespace drml {
namespace cuda {

// Statistics of a part of a channel. Doubles, since the parts of a channel whose mean is large are
// merged by the differences of their means.
struct BatchNormPart {
  double mean;
  double squares;  // sum of squared deviations from the mean
};

// What the gradient of a channel takes from its other numbers.
struct BatchNormSlope {
  float average;  // of dy
  float slope;    // dx falls by so much of x - mean
};

struct BatchNormChannel {
  float mean;
  float inverse;  // of the deviation
  BatchNormSlope gradient;
};

__device__ inline float inverse_deviation(float variance, float eps) {
  return 1.0f / sqrtf(variance + eps);
}

// Statistics of a part of a channel by one block, or thread, which reads it twice, from the cache
// the second time: deviations from the mean of the part lose nothing when the mean is large.
template <bool kByBlock>
__global__ void batch_norm_parts_kernel(BroadcastGroups groups, const float* __restrict__ x,
                                        BatchNormPart* __restrict__ parts) {
  __shared__ float shared[32];
  const Share<kByBlock> share(groups);
  float sum = 0;
  share.for_each(groups, [&](int64_t i) { sum += x[i]; });
  const float centre = share.sum(sum, shared) / static_cast<float>(share.size);
  // The centre is the mean to a few roundings; the sum of the deviations is what is left.
  float rest = 0;
  float squares = 0;
  share.for_each(groups, [&](int64_t i) {
    const float deviation = x[i] - centre;
    rest += deviation;
    squares += deviation * deviation;
  });
  rest = share.sum(rest, shared);
  squares = share.sum(squares, shared);
  if (!share.writes()) return;
  const double shift = static_cast<double>(rest) / static_cast<double>(share.size);
  parts[share.partial] = {centre + shift, squares - rest * shift};
}

// Mean and variance of a channel from those of its parts; one thread merges a channel's.
__global__ void batch_norm_merge_kernel(BroadcastGroups groups,
                                        const BatchNormPart* __restrict__ parts,
                                        float* __restrict__ mean, float* __restrict__ variance) {
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (channel >= groups.count) return;
  const double count = static_cast<double>(groups.members);
  double average = 0;
  for (int part = 0; part < groups.parts; ++part) {
    const double size = static_cast<double>(groups.part_size(part));
    average += parts[part * groups.count + channel].mean * (size / count);
  }
  double squares = 0;
  for (int part = 0; part < groups.parts; ++part) {
    const BatchNormPart statistics = parts[part * groups.count + channel];
    const double size = static_cast<double>(groups.part_size(part));
    const double difference = statistics.mean - average;
    squares += statistics.squares + size * difference * difference;
  }
  mean[channel] = static_cast<float>(average);
  variance[channel] = static_cast<float>(fmax(squares / count, 0.0));
}

// y = (x - mean) / deviation; one thread computes several numbers of a line. y may be x.
__global__ void batch_norm_forward_kernel(BroadcastLines lines, const float* x,
                                          const float* __restrict__ mean,
                                          const float* __restrict__ variance, float eps, float* y) {
  for_each_number(
      lines,
      [=](int64_t c) {
        return BatchNormChannel{mean[c], inverse_deviation(variance[c], eps), {0, 0}};
      },
      [=](int64_t i, BatchNormChannel channel) { y[i] = (x[i] - channel.mean) * channel.inverse; });
}

// dx = dy / deviation, for statistics that do not depend on x; as batch_norm_forward_kernel. dx may
// be dy.
__global__ void batch_norm_backward_frozen_kernel(BroadcastLines lines,
                                                  const float* __restrict__ variance,
                                                  const float* dy, float eps, float* dx) {
  for_each_number(
      lines, [=](int64_t c) { return inverse_deviation(variance[c], eps); },
      [=](int64_t i, float inverse) { dx[i] = dy[i] * inverse; });
}

// partial = sums of dy and of dy * (x - mean); one block, or thread, sums a part of a channel.
template <bool kByBlock>
__global__ void batch_norm_sums_kernel(BroadcastGroups groups, const float* __restrict__ x,
                                       const float* __restrict__ mean, const float* __restrict__ dy,
                                       float2* __restrict__ partial) {
  sum_pairs<kByBlock>(
      groups, [=](int64_t i, int64_t c) { return make_float2(dy[i], dy[i] * (x[i] - mean[c])); },
      partial);
}

// What the gradients of each channel need of these sums; one thread computes it for a channel.
__global__ void batch_norm_slopes_kernel(BroadcastGroups groups, const float2* __restrict__ partial,
                                         const float* __restrict__ variance, float eps,
                                         BatchNormSlope* __restrict__ slopes) {
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (channel >= groups.count) return;
  const Sums sums = add_parts(groups, channel, partial);
  const double count = static_cast<double>(groups.members);
  const double inverse = inverse_deviation(variance[channel], eps);
  slopes[channel] = {static_cast<float>(sums.first / count),
                     static_cast<float>(sums.second / count * inverse * inverse)};
}

// dx = (dy - average of dy - slope * (x - mean)) / deviation; as batch_norm_forward_kernel. dx may
// be dy.
__global__ void batch_norm_backward_kernel(BroadcastLines lines, const float* __restrict__ x,
                                           const float* __restrict__ mean,
                                           const float* __restrict__ variance,
                                           const BatchNormSlope* __restrict__ slopes,
                                           const float* dy, float eps, float* dx) {
  for_each_number(
      lines,
      [=](int64_t c) {
        return BatchNormChannel{mean[c], inverse_deviation(variance[c], eps), slopes[c]};
      },
      [=](int64_t i, BatchNormChannel channel) {
        const float slope = channel.gradient.slope * (x[i] - channel.mean);
        dx[i] = (dy[i] - channel.gradient.average - slope) * channel.inverse;
      });
}

#ifdef DRML_KERNELS_ONLY
template __global__ void batch_norm_parts_kernel<false>(BroadcastGroups, const float*,
                                                        BatchNormPart*);
template __global__ void batch_norm_parts_kernel<true>(BroadcastGroups, const float*,
                                                       BatchNormPart*);
template __global__ void batch_norm_sums_kernel<false>(BroadcastGroups, const float*, const float*,
                                                       const float*, float2*);
template __global__ void batch_norm_sums_kernel<true>(BroadcastGroups, const float*, const float*,
                                                      const float*, float2*);
#endif

}  // namespace cuda
}  // namespace drml
