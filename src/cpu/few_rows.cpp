// Inner products of few rows, beside dnnl_sgemm: that copies the weights into an order of its own
// before it multiplies, which for a large matrix and few rows takes longer than to multiply. On
// fc8 of DRML (D 11664, K 4096), one thread, in ms of processor time, AVX2 and then AVX-512:
//     rows             1      2      16     32     64      128
//     sgemm            21.1   45.1   79.6   111    136     227
//     few rows         23.4   17.9   27.2   51.4   99.5    215
//     sgemm            14.1
//     few rows         10.1   13.2   14.3   21.4   38.8
//     sgemm, dx        12.5   15.3   29.4   39.3   46.5
//     few rows, dx     11.6   12.8   18.1   29.2   53.0
//
// What is read next is asked for in advance, because the processor follows fewer rows than a kernel
// reads at a time.
//
// Here the weights are read once, where they lie. x is small: it is turned, so that the rows lie
// side by side, and passes in parts that stay in the second cache. Threads share out the outputs,
// or for dx the inputs, and the order of a sum depends on nothing but its length.
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
// Smaller matrices stay in the caches, and gain nothing here.
constexpr int64_t kLeastWeights = 1 << 16;
// Rows of weights that are added to dx together: as many as the processor follows at a time.
constexpr int64_t kTogether = 16;

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

// One row: weights meet it as they lie, vector by vector.
void multiply_row(int64_t inputs, int64_t outputs, const float* x, const float* weight,
                  const float* bias, float* y) {
  const FewRowsKernels& kernel = kernels();
#pragma omp parallel for schedule(static)
  for (int64_t first = 0; first < outputs; first += kOutputs) {
    const int64_t count = std::min(kOutputs, outputs - first);
    kernel.dot(count, inputs, weight + first * inputs, inputs, x, y + first);
    for (int64_t k = first; k < first + count && bias != nullptr; ++k) y[k] += bias[k];
  }
}

}  // namespace

bool are_few_rows(int64_t rows, int64_t inputs, int64_t outputs) {
  constexpr int64_t kMostRows = 64;
  return rows > 0 && rows <= kMostRows && inputs * outputs >= kLeastWeights;
}

bool are_few_gradients(int64_t rows, int64_t inputs, int64_t outputs) {
  constexpr int64_t kMostRows = 32;
  return rows > 1 && rows <= kMostRows && inputs * outputs >= kLeastWeights;
}

void multiply_few_rows(int64_t rows, int64_t inputs, int64_t outputs, const float* x,
                       const float* weight, const float* bias, float* y) {
  if (rows == 1) {
    multiply_row(inputs, outputs, x, weight, bias, y);
    return;
  }
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

void few_rows_data_gradient(int64_t rows, int64_t inputs, int64_t outputs, const float* dy,
                            const float* weight, float* dx) {
  const FewRowsKernels& kernel = kernels();
  const std::vector<float> turned_dy = turned(rows, outputs, dy, rows, 1);
#pragma omp parallel for schedule(static)
  for (int64_t d = 0; d < inputs; d += kDepth) {
    for (int64_t k = 0; k < outputs; k += kTogether) {
      kernel.add_product({rows, std::min(kTogether, outputs - k), std::min(kDepth, inputs - d),
                          turned_dy.data() + k * rows, rows, weight + k * inputs + d, inputs,
                          dx + d, inputs, k > 0});
    }
  }
}

}  // namespace drml
