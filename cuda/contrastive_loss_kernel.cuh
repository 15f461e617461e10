// Kernels of the contrastive loss.
#pragma once

#include "contrastive_loss_rule.h"
#include "fault.cuh"
#include "lines.cuh"
#include "loss.cuh"
#include "strided.cuh"

namespace drml {
namespace cuda {

// `samples` pairs of `columns` numbers, those of a and of b in the order of their axes, and a label
// for each pair.
struct ContrastivePairs {
  int64_t samples, columns;
  Strided<1> a;
  Strided<1> b;
  Strided<1> labels;

  // A wrong label is reported, and then is that of a dissimilar pair.
  __device__ bool similar(const float* label, int64_t sample, uint64_t* fault) const {
    const float value = label[labels.place(sample)];
    if (is_pair_label(value)) return value != 0;
    report_fault(fault, sample, value);
    return false;
  }
};

// A team of kThreads per pair adds up its squared distance.
template <int kThreads>
__global__ void contrastive_distance_kernel(ContrastivePairs pairs, const float* __restrict__ a,
                                            const float* __restrict__ b,
                                            float* __restrict__ distance) {
  __shared__ double shared[32];
  const LineTeam<kThreads> team;
  for (int64_t sample = team.first(); sample < pairs.samples; sample += team.stride()) {
    double sum = 0;
    for (int64_t column = team.rank(); column < pairs.columns; column += kThreads) {
      const int64_t i = sample * pairs.columns + column;
      const double difference = a[pairs.a.place(i)] - b[pairs.b.place(i)];
      sum += difference * difference;
    }
    sum = team.sum(sum, shared);
    if (team.rank() == 0) distance[sample] = static_cast<float>(sum);
  }
}

// All threads add up the terms of the pairs.
__global__ void __launch_bounds__(kLossThreads)
    contrastive_loss_forward_kernel(ContrastivePairs pairs, const float* __restrict__ distance,
                                    const float* __restrict__ label, uint64_t* fault,
                                    ContrastiveRule rule, LossDivisor divisor, LossOutput out) {
  double sum = 0;
  // Unrolled, it would not fit into the registers.
#pragma unroll 1
  DRML_GRID_LOOP(sample, pairs.samples) {
    const bool similar = pairs.similar(label, sample, fault);
    sum += rule.term(distance[sample], similar);
  }
  store_loss(sum, divisor, out);
}

// One thread per number of a and of b; da and db may be null. `samples` is what the loss was
// divided by.
__global__ void contrastive_loss_backward_kernel(
    ContrastivePairs pairs, const float* __restrict__ a, const float* __restrict__ b,
    const float* __restrict__ distance, const float* __restrict__ label, uint64_t* fault,
    ContrastiveRule rule, float samples, const float* __restrict__ dy, float* __restrict__ da,
    float* __restrict__ db) {
  const float scale = *dy / samples;
  DRML_GRID_LOOP(i, pairs.samples * pairs.columns) {
    const int64_t sample = i / pairs.columns;
    const bool similar = pairs.similar(label, sample, fault);
    const int64_t a_at = pairs.a.place(i);
    const int64_t b_at = pairs.b.place(i);
    const float gradient = rule.factor(distance[sample], similar) * scale * (a[a_at] - b[b_at]);
    if (da != nullptr) da[a_at] = gradient;
    if (db != nullptr) db[b_at] = -gradient;
  }
}

#ifdef DRML_KERNELS_ONLY
template __global__ void contrastive_distance_kernel<1>(ContrastivePairs, const float*,
                                                        const float*, float*);
template __global__ void contrastive_distance_kernel<kLineThreads>(ContrastivePairs, const float*,
                                                                   const float*, float*);
#endif

}  // namespace cuda
}  // namespace drml
