// The arithmetic of the locally connected layer at one location, compiled once per instruction set.
//
// Forward and dx compute a block of images at a time, which is one or two vectors wide, and take
// the numbers of the filters one by one; dweight takes vectors of a filter's numbers. Each keeps
// up to kRows rows of its result in registers.
#include "cpu/local_kernel.h"

#include "cpu/unrolled.h"

#define DRML_UNROLL _Pragma("GCC unroll 24")

namespace drml::DRML_ISA {
namespace {

// Rows of one vector, or half as many of two; what is multiplied needs registers as well.
constexpr int kRows = kRegisters - 4;
// Numbers of the filters that all outputs see before the next ones: they and their part of the
// window stay in the first cache, and sums of so many are exact enough to add up.
constexpr int64_t kDepth = 256;

template <int kOutputs, int kVectors>
inline void correlate_rows(const LocalGeometry& g, int64_t first, int64_t last,
                           const float* filters, const float* window, float* y) {
  Vec sum[kOutputs][kVectors] = {};
  for (int64_t d = first; d < last; ++d) {
    const float* at = window + g.offsets[d];
    Vec input[kVectors];
    DRML_UNROLL
    for (int v = 0; v < kVectors; ++v) input[v] = load(at + v * kLanes);
    DRML_UNROLL
    for (int k = 0; k < kOutputs; ++k) {
      const Vec weight = broadcast(filters[k * g.depth + d]);
      DRML_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[k][v] += weight * input[v];
    }
  }
  for (int k = 0; k < kOutputs; ++k) {
    for (int v = 0; v < kVectors; ++v) {
      float* at = y + (k * kVectors + v) * kLanes;
      store(at, load(at) + sum[k][v]);
    }
  }
}

template <int kNumbers, int kVectors>
inline void spread_rows(const LocalGeometry& g, int64_t first, const float* filters,
                        const float* dy, float* window) {
  const int64_t* offsets = g.offsets + first;
  Vec sum[kNumbers][kVectors];
  DRML_UNROLL
  for (int d = 0; d < kNumbers; ++d) {
    DRML_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[d][v] = load(window + offsets[d] + v * kLanes);
  }
  for (int64_t k = 0; k < g.outputs; ++k) {
    const float* weights = filters + k * g.depth + first;
    Vec gradient[kVectors];
    DRML_UNROLL
    for (int v = 0; v < kVectors; ++v) gradient[v] = load(dy + (k * kVectors + v) * kLanes);
    DRML_UNROLL
    for (int d = 0; d < kNumbers; ++d) {
      const Vec weight = broadcast(weights[d]);
      DRML_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[d][v] += weight * gradient[v];
    }
  }
  DRML_UNROLL
  for (int d = 0; d < kNumbers; ++d) {
    DRML_UNROLL
    for (int v = 0; v < kVectors; ++v) store(window + offsets[d] + v * kLanes, sum[d][v]);
  }
}

// kOutputs filters, kVectors numbers of type V from `first` on.
template <int kOutputs, typename V, int kVectors>
inline void accumulate_rows(const LocalGeometry& g, int64_t images, const float* dy,
                            const float* windows, int64_t stride, float* dfilters) {
  constexpr int kStep = static_cast<int>(sizeof(V) / sizeof(float));
  V sum[kOutputs][kVectors];
  DRML_UNROLL
  for (int k = 0; k < kOutputs; ++k) {
    DRML_UNROLL
    for (int v = 0; v < kVectors; ++v) load_to(dfilters + k * g.depth + v * kStep, sum[k][v]);
  }
  for (int64_t n = 0; n < images; ++n) {
    V input[kVectors];
    DRML_UNROLL
    for (int v = 0; v < kVectors; ++v) load_to(windows + n * stride + v * kStep, input[v]);
    DRML_UNROLL
    for (int k = 0; k < kOutputs; ++k) {
      const float gradient = dy[k * g.block + n];
      DRML_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[k][v] += input[v] * gradient;
    }
  }
  DRML_UNROLL
  for (int k = 0; k < kOutputs; ++k) {
    DRML_UNROLL
    for (int v = 0; v < kVectors; ++v) store_at(dfilters + k * g.depth + v * kStep, sum[k][v]);
  }
}

template <int kVectors>
void correlate_block(const LocalGeometry& g, const float* filters, const float* window,
                     const float* bias, float* y) {
  for (int64_t k = 0; k < g.outputs; ++k) {
    for (int v = 0; v < kVectors; ++v) {
      store(y + (k * kVectors + v) * kLanes, broadcast(bias != nullptr ? bias[k] : 0.0f));
    }
  }
  for (int64_t first = 0; first < g.depth; first += kDepth) {
    const int64_t last = first + kDepth < g.depth ? first + kDepth : g.depth;
    for_parts<kRows / kVectors>(g.outputs, [&](int64_t k, auto n) {
      correlate_rows<decltype(n)::value, kVectors>(g, first, last, filters + k * g.depth, window,
                                                   y + k * kVectors * kLanes);
    });
  }
}

void correlate(const LocalGeometry& g, const float* filters, const float* window, const float* bias,
               float* y) {
  (g.block == kLanes ? correlate_block<1> : correlate_block<2>)(g, filters, window, bias, y);
}

template <int kVectors>
void spread_block(const LocalGeometry& g, const float* filters, const float* dy, float* window) {
  for_parts<kRows / kVectors>(g.depth, [&](int64_t first, auto n) {
    spread_rows<decltype(n)::value, kVectors>(g, first, filters, dy, window);
  });
}

void spread(const LocalGeometry& g, const float* filters, const float* dy, float* window) {
  (g.block == kLanes ? spread_block<1> : spread_block<2>)(g, filters, dy, window);
}

// From number d on: as many steps of kVectors numbers of type V as there are.
template <typename V, int kVectors>
int64_t accumulate_steps(const LocalGeometry& g, int64_t images, const float* dy,
                         const float* windows, int64_t stride, float* dfilters, int64_t d) {
  constexpr int kStep = kVectors * static_cast<int>(sizeof(V) / sizeof(float));
  for (; d + kStep <= g.depth; d += kStep) {
    for_parts<kRows / 2>(g.outputs, [&](int64_t k, auto n) {
      accumulate_rows<decltype(n)::value, V, kVectors>(g, images, dy + k * g.block, windows + d,
                                                       stride, dfilters + k * g.depth + d);
    });
  }
  return d;
}

void accumulate(const LocalGeometry& g, int64_t images, const float* dy, const float* windows,
                int64_t stride, float* dfilters) {
  int64_t d = accumulate_steps<Vec, 2>(g, images, dy, windows, stride, dfilters, 0);
  d = accumulate_steps<Vec, 1>(g, images, dy, windows, stride, dfilters, d);
  accumulate_steps<float, 1>(g, images, dy, windows, stride, dfilters, d);
}

}  // namespace

const LocalKernels local_kernels = {kLanes, correlate, spread, accumulate};

}  // namespace drml::DRML_ISA
