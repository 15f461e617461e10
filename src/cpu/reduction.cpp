// Sums over the last axes: Caffe's Reduction.
#include <cmath>

#include "cpu/rows.h"
#include "ops.h"
#include "reduction_shape.h"

namespace drml {
namespace {

// Where the number of a row lies: an array of four axes lies channels-last.
int64_t place_of_row(const Tensor& y, int64_t row) {
  return y.is_row_major() ? row : element_offset(y, row);
}

// y = coeff * the sums of f(x).
template <typename F>
void reduce(const RowsShape& s, const Tensor& x, const Tensor& y, float coeff, F f) {
  const float* px = x.data();
  const auto store = [&](int64_t row, double sum) {
    y.data()[place_of_row(y, row)] = static_cast<float>(sum * coeff);
  };
  if (s.side == 1) {
    // A single row is the work of all threads, in blocks of a fixed size.
#pragma omp parallel for schedule(static) if (s.groups > 1 && x.size() > kParallelSize)
    for (int64_t row = 0; row < s.groups; ++row) {
      const float* numbers = px + row * s.length;
      store(row, ordered_sum(s.length, [=](int64_t i) { return f(numbers[i]); }));
    }
    return;
  }
  for_rows(s, [&](const RowPart& rows) {
    double sums[kRowsAtOnce];
    sum_rows(rows, sums, [=](int64_t at, int64_t) { return f(px[at]); });
    for (int64_t j = 0; j < rows.count; ++j) store(rows.row + j, sums[j]);
  });
}

// dx = coeff * dy * f(x), with dy that of the row.
template <typename F>
void spread(const RowsShape& s, const Tensor& x, const Tensor& dy, const Tensor& dx, float coeff,
            F f) {
  const float* px = x.data();
  float* pdx = dx.data();
  if (s.rows() == 1) {
    const float factor = coeff * dy.data()[0];
    for_each_index(s.length, [=](int64_t i) { pdx[i] = factor * f(px[i]); });
    return;
  }
  for_rows(s, [&](const RowPart& rows) {
    float factors[kRowsAtOnce];
    for (int64_t j = 0; j < rows.count; ++j) {
      factors[j] = coeff * dy.data()[place_of_row(dy, rows.row + j)];
    }
    for_numbers(rows, [&](int64_t at, int64_t j) { pdx[at] = factors[j] * f(px[at]); });
  });
}

}  // namespace

void cpu::reduction_forward(const Tensor& x, const Tensor& y, int64_t axis, Reduction operation,
                            float coeff) {
  const RowsShape s = make_reduction_shape("reduction_forward", x, y, axis);
  if (operation == Reduction::sum) {
    reduce(s, x, y, coeff, [](float v) { return static_cast<double>(v); });
  } else if (operation == Reduction::asum) {
    reduce(s, x, y, coeff, [](float v) { return static_cast<double>(std::fabs(v)); });
  } else {
    reduce(s, x, y, coeff, [](float v) { return static_cast<double>(v) * v; });
  }
}

void cpu::reduction_backward(const Tensor& x, const Tensor& dy, const Tensor& dx, int64_t axis,
                             Reduction operation, float coeff) {
  const RowsShape s = make_reduction_shape("reduction_backward", x, dy, axis);
  check_same_layout("reduction_backward", x, dx);
  if (operation == Reduction::sum) {
    spread(s, x, dy, dx, coeff, [](float) { return 1.0f; });
  } else if (operation == Reduction::asum) {
    spread(s, x, dy, dx, coeff, [](float v) { return static_cast<float>((v > 0) - (v < 0)); });
  } else {
    spread(s, x, dy, dx, coeff, [](float v) { return 2 * v; });
  }
}

}  // namespace drml
