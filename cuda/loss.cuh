// What the losses on CUDA share: labels that do not count, the divisor, and the sum of the terms.
#pragma once

#include "reduce.cuh"

namespace drml {
namespace cuda {

constexpr int kLossThreads = 512;  // of a block that adds terms up, at most
constexpr int kLossParts = 64;     // blocks that share the terms of a loss, at most

// The label, if there is one, that gives neither loss nor gradient.
struct IgnoredLabel {
  bool given;
  float value;

  __device__ bool is(float label) const { return given && label == value; }
};

// What a loss is divided by: a number that follows from the shapes, or how many labels are not
// ignored, which blocks have counted.
struct LossDivisor {
  double fixed;
  const int64_t* counts;  // null when fixed
  int parts;

  __device__ double get() const {
    if (counts == nullptr) return fixed;
    int64_t count = 0;
    for (int part = 0; part < parts; ++part) count += counts[part];
    return static_cast<double>(count > 0 ? count : 1);
  }
};

// Where a loss goes: into y when one block has all of it, else block by block into parts.
struct LossOutput {
  float* y;
  double* parts;
};

// Adds `sum` up over the block and stores the block's share of the loss.
__device__ inline void store_loss(double sum, const LossDivisor& divisor, const LossOutput& out) {
  __shared__ double shared[32];
  sum = block_sum(sum, shared);
  if (threadIdx.x > 0) return;
  if (gridDim.x == 1) {
    *out.y = static_cast<float>(sum / divisor.get());
  } else {
    out.parts[blockIdx.x] = sum;
  }
}

// Whether a label names one of the classes.
__device__ inline bool is_class(float label, int64_t classes) {
  return label >= 0 && label < static_cast<float>(classes) && label == floorf(label);
}

}  // namespace cuda
}  // namespace drml
