// The arithmetic of pooling, compiled once per instruction set. Channels are independent and lie
// side by side: a vector of them goes through a whole window in registers.
#include "cpu/pooling_kernel.h"

namespace drml::DRML_ISA {
namespace {

// Numbers of pixels within a window, one for each channel.
typedef int32_t Places __attribute__((vector_size(4 * kLanes)));
inline Places first_places(Vec) { return Places{}; }
inline int32_t first_places(float) { return 0; }

// The part of one axis that a window covers.
struct Span {
  int64_t first, last;
  int64_t divisor;  // its length, cut at the far border of the padding

  Span(const PoolingGeometry& g, int axis, int64_t window) {
    const int64_t start = window * g.stride[axis] - g.pad[axis];
    const int64_t end = start + g.kernel[axis];
    const int64_t border = g.size[axis] + g.pad[axis];
    first = start > 0 ? start : 0;
    last = end < g.size[axis] ? end : g.size[axis];
    divisor = (end < border ? end : border) - start;
  }
};

// Calls f(offset, number in the window) for the pixels of a window, row by row.
template <typename F>
inline void for_pixels(const PoolingGeometry& g, const Span& rows, const Span& columns, F f) {
  int32_t number = 0;
  for (int64_t h = rows.first; h < rows.last; ++h) {
    for (int64_t w = columns.first; w < columns.last; ++w) {
      f((h * g.size[1] + w) * g.channels, number++);
    }
  }
}

inline int64_t first_pixel(const PoolingGeometry& g, const Span& rows, const Span& columns) {
  return (rows.first * g.size[1] + columns.first) * g.channels;
}

void max_forward(const PoolingGeometry& g, int64_t row, const float* x, float* y) {
  const Span rows(g, 0, row);
  for (int64_t column = 0; column < g.windows[1]; ++column) {
    const Span columns(g, 1, column);
    for_numbers(g.channels, [&](int64_t c, auto best) {
      load_to(x + first_pixel(g, rows, columns) + c, best);
      for_pixels(g, rows, columns, [&](int64_t at, int32_t) {
        auto value = best;
        load_to(x + at + c, value);
        best = (value > best) | (value != value) ? value : best;
      });
      store_at(y + column * g.channels + c, best);
    });
  }
}

void ave_forward(const PoolingGeometry& g, int64_t row, const float* x, float* y) {
  const Span rows(g, 0, row);
  for (int64_t column = 0; column < g.windows[1]; ++column) {
    const Span columns(g, 1, column);
    const float divisor = static_cast<float>(rows.divisor * columns.divisor);
    for_numbers(g.channels, [&](int64_t c, auto sum) {
      for_pixels(g, rows, columns, [&](int64_t at, int32_t) {
        auto value = sum;
        load_to(x + at + c, value);
        sum += value;
      });
      store_at(y + column * g.channels + c, sum / divisor);
    });
  }
}

void max_backward(const PoolingGeometry& g, int64_t row, int64_t first, int64_t last,
                  const float* x, const float* dy, float* dx) {
  const Span rows(g, 0, row);
  const int64_t from = first * g.size[1] * g.channels;
  const int64_t to = last * g.size[1] * g.channels;
  for (int64_t column = 0; column < g.windows[1]; ++column) {
    const Span columns(g, 1, column);
    for_numbers(g.channels, [&](int64_t c, auto best) {
      load_to(x + first_pixel(g, rows, columns) + c, best);
      auto places = first_places(best);
      for_pixels(g, rows, columns, [&](int64_t at, int32_t place) {
        auto value = best;
        load_to(x + at + c, value);
        const auto better = (value > best) | ((value != value) & (best == best));
        best = better ? value : best;
        places = better ? place : places;
      });
      auto gradient = best;
      load_to(dy + column * g.channels + c, gradient);
      for_pixels(g, rows, columns, [&](int64_t at, int32_t place) {
        if (at < from || at >= to) return;
        auto sum = best;
        load_to(dx + at + c, sum);
        store_at(dx + at + c, sum + (places == place ? gradient : 0.0f));
      });
    });
  }
}

void ave_backward(const PoolingGeometry& g, int64_t row, int64_t first, int64_t last,
                  const float* dy, float* dx) {
  Span rows(g, 0, row);
  const int64_t divided_rows = rows.divisor;
  rows.first = rows.first > first ? rows.first : first;
  rows.last = rows.last < last ? rows.last : last;
  for (int64_t column = 0; column < g.windows[1]; ++column) {
    const Span columns(g, 1, column);
    const float divisor = static_cast<float>(divided_rows * columns.divisor);
    for_numbers(g.channels, [&](int64_t c, auto gradient) {
      load_to(dy + column * g.channels + c, gradient);
      gradient /= divisor;
      for_pixels(g, rows, columns, [&](int64_t at, int32_t) {
        auto sum = gradient;
        load_to(dx + at + c, sum);
        store_at(dx + at + c, sum + gradient);
      });
    });
  }
}

}  // namespace

const PoolingKernels pooling_kernels = {max_forward, ave_forward, max_backward, ave_backward};

}  // namespace drml::DRML_ISA
