// Loops over the rows of a tensor.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/elementwise.h"
#include "rows_shape.h"

namespace drml {

constexpr int64_t kRowsAtOnce = 16;  // rows side by side: a cache line of them

// Some rows: number i of row `row` + j lies at start + i * step + j.
struct RowPart {
  int64_t row, count;
  int64_t start, step, length;
};

// Calls f(rows) for all rows, one by one or as many side by side as lie in a cache line.
template <typename F>
void for_rows(const RowsShape& s, F f) {
  const int64_t parts = (s.side + kRowsAtOnce - 1) / kRowsAtOnce;
#pragma omp parallel for schedule(static) if (s.rows() * s.length > kParallelSize)
  for (int64_t number = 0; number < s.groups * parts; ++number) {
    const int64_t group = number / parts;
    const int64_t first = number % parts * kRowsAtOnce;
    f(RowPart{group * s.side + first, std::min(kRowsAtOnce, s.side - first),
              group * s.length * s.side + first, s.side, s.length});
  }
}

// Calls f(place in memory, number of the row among these) for all numbers.
template <typename F>
void for_numbers(const RowPart& rows, F f) {
  if (rows.step == 1) {
    for (int64_t i = 0; i < rows.length; ++i) f(rows.start + i, 0);
    return;
  }
  for (int64_t i = 0; i < rows.length; ++i) {
    for (int64_t j = 0; j < rows.count; ++j) f(rows.start + i * rows.step + j, j);
  }
}

// sums[j] = the sum of f(place, j) over the numbers of each row.
template <typename F>
void sum_rows(const RowPart& rows, double* sums, F f) {
  if (rows.step == 1) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < rows.length; ++i) sum += f(rows.start + i, 0);
    sums[0] = sum;
    return;
  }
  std::fill_n(sums, rows.count, 0.0);
  for_numbers(rows, [&](int64_t at, int64_t j) { sums[j] += f(at, j); });
}

}  // namespace drml
