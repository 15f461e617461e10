// The arithmetic of LRN, compiled once per instruction set.
//
// A window is a sum over `size` numbers that lie `step` apart: 1 for windows along the channels of
// a pixel, the number of channels for windows along a row. Windows along the channels read squares
// that were written to scratch for a block of pixels before, with zeros on both sides of each
// pixel: no edge cases, and no load waits for a store that it overlaps.
#include "cpu/lrn_kernel.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace drml::DRML_ISA {
namespace {

constexpr int64_t kBlock = 16;  // pixels

inline Vec square_root(Vec v) {
#if defined(DRML_ISA_avx512)
  // The plain intrinsic makes GCC 12 warn of an uninitialized value in its own header.
  return _mm512_maskz_sqrt_ps(static_cast<__mmask16>(-1), v);
#elif defined(DRML_ISA_avx2)
  return _mm256_sqrt_ps(v);
#elif defined(__SSE2__)
  return _mm_sqrt_ps(v);
#else
  for (int lane = 0; lane < kLanes; ++lane) v[lane] = __builtin_sqrtf(v[lane]);
  return v;
#endif
}
inline float square_root(float v) { return __builtin_sqrtf(v); }

inline Vec one(Vec) { return broadcast(1.0f); }
inline float one(float) { return 1.0f; }

inline Vec raise(Vec s, float exponent) {
  for (int lane = 0; lane < kLanes; ++lane) s[lane] = __builtin_powf(s[lane], exponent);
  return s;
}
inline float raise(float s, float exponent) { return __builtin_powf(s, exponent); }

// kSize and kFast fix the window and the exponent that almost every net uses: 5 and 0.75.
template <typename Number, int kSize>
inline Number window(const LrnGeometry& g, const float* p, int64_t step) {
  const int64_t size = kSize > 0 ? kSize : g.size;
  Number sum;
  load_to(p, sum);
  for (int64_t tap = 1; tap < size; ++tap) {
    Number term;
    load_to(p + tap * step, term);
    sum += term;
  }
  return sum;
}

// s^-beta, and 1 / s in `inverse`.
template <typename Number, bool kFast>
inline Number inverse_power(const LrnGeometry& g, Number s, Number& inverse) {
  inverse = one(s) / s;
  if (kFast) return square_root(inverse * square_root(inverse));
  return raise(s, -g.beta);
}

template <int kSize, bool kFast>
inline void forward(const LrnGeometry& g, int64_t count, int64_t step, const float* x,
                    const float* squares, float* y) {
  for_numbers(count, [&](int64_t i, auto value) {
    using Number = decltype(value);
    load_to(x + i, value);
    Number inverse;
    const Number s = window<Number, kSize>(g, squares + i, step) * g.scale + g.k;
    store_at(y + i, value * inverse_power<Number, kFast>(g, s, inverse));
  });
}

template <int kSize, bool kFast>
inline void power_and_ratio(const LrnGeometry& g, int64_t count, int64_t step, const float* x,
                            const float* dy, const float* squares, float* power, float* ratio) {
  for_numbers(count, [&](int64_t i, auto value) {
    using Number = decltype(value);
    load_to(x + i, value);
    Number gradient;
    load_to(dy + i, gradient);
    Number inverse;
    const Number s = window<Number, kSize>(g, squares + i, step) * g.scale + g.k;
    const Number p = inverse_power<Number, kFast>(g, s, inverse);
    store_at(power + i, p);
    store_at(ratio + i, gradient * value * (p * inverse));
  });
}

// dx = dy * s^-beta - 2 * scale * beta * x * (sum of ratios over the window).
template <int kSize>
inline void combine(const LrnGeometry& g, int64_t count, int64_t step, const float* x,
                    const float* dy, const float* power, const float* ratios, float* dx) {
  const float factor = 2.0f * g.scale * g.beta;
  for_numbers(count, [&](int64_t i, auto value) {
    using Number = decltype(value);
    load_to(x + i, value);
    Number gradient;
    load_to(dy + i, gradient);
    Number p;
    load_to(power + i, p);
    const Number sum = window<Number, kSize>(g, ratios + i, step);
    store_at(dx + i, gradient * p - value * factor * sum);
  });
}

// Scratch of a pixel: its numbers with zeros on both sides.
inline int64_t padded(const LrnGeometry& g) { return g.channels + g.size - 1; }

int64_t across_scratch(const LrnGeometry& g) { return kBlock * (2 * padded(g) + g.channels); }

inline void pad_squares(const LrnGeometry& g, int64_t pixels, const float* x, float* squares) {
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    const float* from = x + pixel * g.channels;
    float* to = squares + pixel * padded(g) + g.size / 2;
    for_numbers(g.channels, [&](int64_t i, auto value) {
      load_to(from + i, value);
      store_at(to + i, value * value);
    });
  }
}

template <int kSize, bool kFast>
void across_forward_of(const LrnGeometry& g, int64_t pixels, const float* x, float* scratch,
                       float* y) {
  for (int64_t begin = 0; begin < pixels; begin += kBlock) {
    const int64_t block = pixels - begin < kBlock ? pixels - begin : kBlock;
    pad_squares(g, block, x + begin * g.channels, scratch);
    for (int64_t pixel = 0; pixel < block; ++pixel) {
      const int64_t at = (begin + pixel) * g.channels;
      forward<kSize, kFast>(g, g.channels, 1, x + at, scratch + pixel * padded(g), y + at);
    }
  }
}

template <int kSize, bool kFast>
void across_backward_of(const LrnGeometry& g, int64_t pixels, const float* x, const float* dy,
                        float* scratch, float* dx) {
  float* squares = scratch;
  float* ratios = squares + kBlock * padded(g);
  float* power = ratios + kBlock * padded(g);
  for (int64_t begin = 0; begin < pixels; begin += kBlock) {
    const int64_t block = pixels - begin < kBlock ? pixels - begin : kBlock;
    pad_squares(g, block, x + begin * g.channels, squares);
    for (int64_t pixel = 0; pixel < block; ++pixel) {
      const int64_t at = (begin + pixel) * g.channels;
      power_and_ratio<kSize, kFast>(g, g.channels, 1, x + at, dy + at, squares + pixel * padded(g),
                                    power + pixel * g.channels,
                                    ratios + pixel * padded(g) + g.size / 2);
    }
    for (int64_t pixel = 0; pixel < block; ++pixel) {
      const int64_t at = (begin + pixel) * g.channels;
      combine<kSize>(g, g.channels, 1, x + at, dy + at, power + pixel * g.channels,
                     ratios + pixel * padded(g), dx + at);
    }
  }
}

void across_forward(const LrnGeometry& g, int64_t pixels, const float* x, float* scratch,
                    float* y) {
  if (g.beta == 0.75f && g.size == 5) return across_forward_of<5, true>(g, pixels, x, scratch, y);
  if (g.beta == 0.75f) return across_forward_of<0, true>(g, pixels, x, scratch, y);
  across_forward_of<0, false>(g, pixels, x, scratch, y);
}

void across_backward(const LrnGeometry& g, int64_t pixels, const float* x, const float* dy,
                     float* scratch, float* dx) {
  if (g.beta == 0.75f && g.size == 5) {
    return across_backward_of<5, true>(g, pixels, x, dy, scratch, dx);
  }
  if (g.beta == 0.75f) return across_backward_of<0, true>(g, pixels, x, dy, scratch, dx);
  across_backward_of<0, false>(g, pixels, x, dy, scratch, dx);
}

void add_squares(int64_t count, const float* x, float* sum) {
  for (int64_t i = 0; i < count; ++i) sum[i] += x[i] * x[i];
}

void add(int64_t count, const float* x, float* sum) {
  for (int64_t i = 0; i < count; ++i) sum[i] += x[i];
}

void within_forward(const LrnGeometry& g, int64_t count, const float* x, const float* squares,
                    float* y) {
  if (g.beta == 0.75f) return forward<0, true>(g, count, g.channels, x, squares, y);
  forward<0, false>(g, count, g.channels, x, squares, y);
}

void within_ratio(const LrnGeometry& g, int64_t count, const float* x, const float* dy,
                  const float* squares, float* power, float* ratio) {
  if (g.beta == 0.75f) {
    return power_and_ratio<0, true>(g, count, g.channels, x, dy, squares, power, ratio);
  }
  power_and_ratio<0, false>(g, count, g.channels, x, dy, squares, power, ratio);
}

void within_backward(const LrnGeometry& g, int64_t count, const float* x, const float* dy,
                     const float* power, const float* ratios, float* dx) {
  combine<0>(g, count, g.channels, x, dy, power, ratios, dx);
}

}  // namespace

const LrnKernels lrn_kernels = {across_scratch, across_forward, across_backward, add_squares, add,
                                within_forward, within_ratio,   within_backward};

}  // namespace drml::DRML_ISA
