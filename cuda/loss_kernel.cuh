// Kernels that several losses launch.
#pragma once

#include "loss.cuh"
#include "strided.cuh"

namespace drml {
namespace cuda {

// Each block counts its share of the labels that are not ignored. Caffe cuts a fraction off before
// it compares; a class number has none.
__global__ void __launch_bounds__(kLossThreads)
    count_labels_kernel(int64_t size, Strided<1> places, const float* __restrict__ label,
                        IgnoredLabel ignored, int64_t* __restrict__ counts) {
  __shared__ int64_t shared[32];
  int64_t count = 0;
  DRML_GRID_LOOP(i, size) {
    if (!ignored.is(truncf(label[places.place(i)]))) ++count;
  }
  count = block_sum(count, shared);
  if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

// One warp adds up the blocks' shares of a loss.
__global__ void finish_loss_kernel(int parts, LossDivisor divisor, LossOutput out) {
  double sum = 0;
  for (int part = static_cast<int>(threadIdx.x); part < parts; part += 32) sum += out.parts[part];
  sum = warp_sum(sum);
  if (threadIdx.x == 0) *out.y = static_cast<float>(sum / divisor.get());
}

}  // namespace cuda
}  // namespace drml
