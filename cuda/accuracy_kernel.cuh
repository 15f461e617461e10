// Kernels of the accuracy: counts per class, then their ratios.
#pragma once

#include "fault.cuh"
#include "lines.cuh"
#include "loss.cuh"

namespace drml {
namespace cuda {

struct AccuracyLabels {
  Strided<1> places;
  IgnoredLabel ignored;
  int64_t top_k;
};

// For every class the lines that have its label, and those of them that are right.
struct AccuracyCounts {
  unsigned* seen;
  unsigned* right;
};

// A team of kThreads per line. Whole numbers are counted, so their order does not matter.
template <int kThreads>
__global__ void count_right_kernel(LinePlaces lines, const float* __restrict__ x,
                                   AccuracyLabels labels, const float* __restrict__ label,
                                   uint64_t* fault, AccuracyCounts counts) {
  __shared__ int64_t shared[32];
  const LineTeam<kThreads> team;
  for (int64_t line = team.first(); line < lines.count; line += team.stride()) {
    const float value = label[labels.places.place(line)];
    if (labels.ignored.is(value)) continue;
    if (!is_class(value, lines.length)) {
      report_fault(fault, line, value);
      continue;
    }
    const int64_t own = static_cast<int64_t>(value);
    const float* scores = x + lines.start(line);
    const float own_score = scores[own * lines.step];
    // Classes that come before the label's own one. Of equal scores the later class comes first,
    // as in Caffe; a score that is not a number is behind none, so it never counts as right.
    int64_t before = 0;
    for (int64_t other = team.rank(); other < lines.length; other += kThreads) {
      const float score = scores[other * lines.step];
      const bool behind = score < own_score || (score == own_score && other <= own);
      if (!behind) ++before;
    }
    before = team.sum(before, shared);
    if (team.rank() > 0) continue;
    atomicAdd(&counts.seen[own], 1u);
    if (before < labels.top_k) atomicAdd(&counts.right[own], 1u);
  }
}

__device__ inline float ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0f : static_cast<float>(part) / static_cast<float>(whole);
}

// One block: the share of right lines, and, unless per_class is null, that of each class.
__global__ void accuracy_kernel(int64_t classes, AccuracyCounts counts, float* __restrict__ y,
                                float* __restrict__ per_class) {
  __shared__ int64_t shared[32];
  int64_t seen = 0;
  int64_t right = 0;
  for (int64_t c = threadIdx.x; c < classes; c += blockDim.x) {
    seen += counts.seen[c];
    right += counts.right[c];
    if (per_class != nullptr) per_class[c] = ratio(counts.right[c], counts.seen[c]);
  }
  seen = block_sum(seen, shared);
  right = block_sum(right, shared);
  if (threadIdx.x == 0) *y = ratio(right, seen);
}

#ifdef DRML_KERNELS_ONLY
template __global__ void count_right_kernel<1>(LinePlaces, const float*, AccuracyLabels,
                                               const float*, uint64_t*, AccuracyCounts);
template __global__ void count_right_kernel<kLineThreads>(LinePlaces, const float*, AccuracyLabels,
                                                          const float*, uint64_t*, AccuracyCounts);
#endif

}  // namespace cuda
}  // namespace drml
