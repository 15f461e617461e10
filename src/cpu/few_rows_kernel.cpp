// The arithmetic of inner products of few rows, compiled once per instruction set. One row of x
// meets vectors of weights; of more rows, each has a lane, and the weights come one by one. dx is a
// sum of rows of weights.
#include "cpu/few_rows_kernel.h"

#include "cpu/unrolled.h"

#define DRML_UNROLL _Pragma("GCC unroll 24")

namespace drml::DRML_ISA {
namespace {

// Sums of one vector, or half as many of two; what is multiplied needs registers as well.
constexpr int kSums = kRegisters - 4;
// How far ahead, in numbers, a row of weights is asked for.
constexpr int64_t kAhead = 64;

// Rows of weights that one row of x meets together, and how far ahead, in numbers, each is asked
// for.
constexpr int kDots = 4;
constexpr int64_t kDotAhead = 256;

float sum_of(Vec v) {
  float sum = 0;
  for (int lane = 0; lane < kLanes; ++lane) sum += v[lane];
  return sum;
}

template <int kOutputs>
inline void dot_outputs(int64_t depth, const float* weight, int64_t stride, const float* x,
                        float* y) {
  Vec sum[kOutputs] = {};
  int64_t d = 0;
  for (; d + kLanes <= depth; d += kLanes) {
    const Vec input = load(x + d);
    DRML_UNROLL
    for (int k = 0; k < kOutputs; ++k) {
      const float* at = weight + k * stride + d;
      __builtin_prefetch(at + kDotAhead);
      sum[k] += input * load(at);
    }
  }
  for (int k = 0; k < kOutputs; ++k) {
    y[k] = sum_of(sum[k]);
    for (int64_t i = d; i < depth; ++i) y[k] += weight[k * stride + i] * x[i];
  }
}

void dot(int64_t outputs, int64_t depth, const float* weight, int64_t stride, const float* x,
         float* y) {
  for_parts<kDots>(outputs, [&](int64_t first, auto n) {
    dot_outputs<decltype(n)::value>(depth, weight + first * stride, stride, x, y + first);
  });
}

template <int kOutputs, int kVectors>
inline void multiply_outputs(int64_t depth, const float* weight, int64_t stride, const float* x,
                             float* y) {
  constexpr int kAsked = (kOutputs + 15) / 16;
  Vec sum[kOutputs][kVectors] = {};
  for (int64_t d = 0; d < depth; ++d) {
    Vec input[kVectors];
    DRML_UNROLL
    for (int v = 0; v < kVectors; ++v) input[v] = load(x + (d * kVectors + v) * kLanes);
    // Each line of 16 numbers is asked for once: some rows at every step.
    DRML_UNROLL
    for (int k = 0; k < kAsked; ++k) {
      const int64_t row = d % 16 * kAsked + k;
      if (row < kOutputs) __builtin_prefetch(weight + row * stride + d / 16 * 16 + kAhead);
    }
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

// Rows of a product, of two vectors each.
constexpr int kRows = kSums / 2;

// kCount rows from `row` on, kVectors numbers of type V from `column` on.
template <int kCount, typename V, int kVectors, bool kPrefetch>
inline void add_rows(const Product& p, int64_t row, int64_t column) {
  constexpr int kStep = static_cast<int>(sizeof(V) / sizeof(float));
  const float* a = p.a + row;
  const float* b = p.b + column;
  float* c = p.c + row * p.c_stride + column;
  V sum[kCount][kVectors] = {};
  if (p.add) {
    DRML_UNROLL
    for (int r = 0; r < kCount; ++r) {
      DRML_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        load_to(c + r * p.c_stride + v * kStep, sum[r][v]);
      }
    }
  }
  for (int64_t i = 0; i < p.depth; ++i) {
    const float* numbers = b + i * p.b_stride;
    V other[kVectors];
    DRML_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      load_to(numbers + v * kStep, other[v]);
      if constexpr (kPrefetch) __builtin_prefetch(numbers + v * kStep + kAhead);
    }
    DRML_UNROLL
    for (int r = 0; r < kCount; ++r) {
      const float factor = a[i * p.a_stride + r];
      DRML_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[r][v] += other[v] * factor;
    }
  }
  DRML_UNROLL
  for (int r = 0; r < kCount; ++r) {
    DRML_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      store_at(c + r * p.c_stride + v * kStep, sum[r][v]);
    }
  }
}

// From `column` on: as many steps of kVectors numbers of type V as there are.
template <typename V, int kVectors>
int64_t add_columns(const Product& p, int64_t column) {
  constexpr int kStep = kVectors * static_cast<int>(sizeof(V) / sizeof(float));
  for (; column + kStep <= p.width; column += kStep) {
    for_parts<kRows>(p.rows, [&](int64_t row, auto n) {
      if (row == 0) {
        add_rows<decltype(n)::value, V, kVectors, true>(p, row, column);
      } else {
        add_rows<decltype(n)::value, V, kVectors, false>(p, row, column);
      }
    });
  }
  return column;
}

void add_product(const Product& p) {
  int64_t column = add_columns<Vec, 2>(p, 0);
  column = add_columns<Vec, 1>(p, column);
  add_columns<float, 1>(p, column);
}

}  // namespace

const FewRowsKernels few_rows_kernels = {dot, kLanes, multiply, add_product};

}  // namespace drml::DRML_ISA
