// Inner products of few rows, beside dnnl_sgemm: that copies the weights into an order of its own
// before it multiplies, which for a large matrix and few rows takes longer than to multiply. On
// fc8 of DRML (D 11664, K 4096; AVX2, one thread of a busy machine), in ms of processor time:
//     rows        1      2      16     32     64      128
//     sgemm       21.1   45.1   79.6   111    136     227
//     few rows    23.4   17.9   27.2   51.4   99.5    215
//
// Here the weights are read once, where they lie. x is small: it is turned, so that the rows lie
// side by side, and passes in parts that stay in the second cache. Threads share out the outputs,
// and the order of a sum depends on nothing but its length.
#include "cpu/few_rows.h"

#include <algorithm>
#include <vector>

#include "cpu/few_rows_kernel.h"

namespace drml {
namespace {

// Numbers of x, and of each row of weights, that pass at a time.
constexpr int64_t kDepth = 1024;
// Outputs of a thread's piece of work, a multiple of what the kernels keep in registers.
constexpr int64_t kOutputs = 48;

const FewRowsKernels& kernels() {
#ifdef DRML_HAS_avx512
  if (best_isa() == Isa::avx512) return avx512::few_rows_kernels;
  if (best_isa() == Isa::avx2) return avx2::few_rows_kernels;
#endif
  return portable::few_rows_kernels;
}

// x as blocks of rows, (blocks, inputs, rows of a block); zeros for rows that there are not.
std::vector<float> turned(int64_t rows, int64_t inputs, const float* x, int64_t block,
                          int64_t blocks) {
  std::vector<float> result(static_cast<size_t>(blocks * inputs * block));
#pragma omp parallel for schedule(static)
  for (int64_t first = 0; first < inputs; first += kDepth) {
    const int64_t last = std::min(inputs, first + kDepth);
    for (int64_t row = 0; row < rows; ++row) {
      float* to = result.data() + row / block * inputs * block + row % block;
      for (int64_t d = first; d < last; ++d) to[d * block] = x[row * inputs + d];
    }
  }
  return result;
}

}  // namespace

bool are_few_rows(int64_t rows, int64_t inputs, int64_t outputs) {
  constexpr int64_t kLeastWeights = 1 << 16;
  constexpr int64_t kMostRows = 64;
  return rows > 1 && rows <= kMostRows && inputs * outputs >= kLeastWeights;
}

void multiply_few_rows(int64_t rows, int64_t inputs, int64_t outputs, const float* x,
                       const float* weight, const float* bias, float* y) {
  const FewRowsKernels& kernel = kernels();
  const int64_t block = rows <= kernel.lanes ? kernel.lanes : 2 * kernel.lanes;
  const int64_t blocks = (rows + block - 1) / block;
  const std::vector<float> x_blocks = turned(rows, inputs, x, block, blocks);
#pragma omp parallel
  {
    std::vector<float> sums(static_cast<size_t>(blocks * kOutputs * block));
#pragma omp for schedule(static)
    for (int64_t first = 0; first < outputs; first += kOutputs) {
      const int64_t count = std::min(kOutputs, outputs - first);
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (int64_t d = 0; d < inputs; d += kDepth) {
        const float* weights = weight + first * inputs + d;
        for (int64_t i = 0; i < blocks; ++i) {
          kernel.multiply(block, count, std::min(kDepth, inputs - d), weights, inputs,
                          x_blocks.data() + (i * inputs + d) * block,
                          sums.data() + i * kOutputs * block);
        }
      }
      for (int64_t row = 0; row < rows; ++row) {
        const float* sum = sums.data() + row / block * kOutputs * block + row % block;
        float* to = y + row * outputs + first;
        for (int64_t k = 0; k < count; ++k) {
          to[k] = sum[k * block] + (bias != nullptr ? bias[first + k] : 0.0f);
        }
      }
    }
  }
}

}  // namespace drml
