// The arithmetic of inner products of few rows, compiled once per instruction set: the weights come
// one by one and meet a block of rows of x, one row in each lane.
#include "cpu/few_rows_kernel.h"

#include "cpu/unrolled.h"

#define DRML_UNROLL _Pragma("GCC unroll 24")

namespace drml::DRML_ISA {
namespace {

// Sums of one vector, or half as many of two; what is multiplied needs registers as well.
constexpr int kSums = kRegisters - 4;

template <int kOutputs, int kVectors>
inline void multiply_outputs(int64_t depth, const float* weight, int64_t stride, const float* x,
                             float* y) {
  Vec sum[kOutputs][kVectors] = {};
  for (int64_t d = 0; d < depth; ++d) {
    Vec input[kVectors];
    DRML_UNROLL
    for (int v = 0; v < kVectors; ++v) input[v] = load(x + (d * kVectors + v) * kLanes);
    DRML_UNROLL
    for (int k = 0; k < kOutputs; ++k) {
      const Vec factor = broadcast(weight[k * stride + d]);
      DRML_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[k][v] += factor * input[v];
    }
  }
  for (int k = 0; k < kOutputs; ++k) {
    for (int v = 0; v < kVectors; ++v) {
      float* at = y + (k * kVectors + v) * kLanes;
      store(at, load(at) + sum[k][v]);
    }
  }
}

template <int kVectors>
void multiply_block(int64_t outputs, int64_t depth, const float* weight, int64_t stride,
                    const float* x, float* y) {
  for_parts<kSums / kVectors>(outputs, [&](int64_t first, auto n) {
    multiply_outputs<decltype(n)::value, kVectors>(depth, weight + first * stride, stride, x,
                                                   y + first * kVectors * kLanes);
  });
}

void multiply(int64_t block, int64_t outputs, int64_t depth, const float* weight, int64_t stride,
              const float* x, float* y) {
  (block == kLanes ? multiply_block<1> : multiply_block<2>)(outputs, depth, weight, stride, x, y);
}

}  // namespace

const FewRowsKernels few_rows_kernels = {kLanes, multiply};

}  // namespace drml::DRML_ISA
