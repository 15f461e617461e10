// Rows chosen by their numbers: BatchReindex, Filter and Embed.
#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/elementwise.h"
#include "gather_shape.h"
#include "ops.h"

namespace drml {
namespace {

std::vector<int64_t> read_index(const char* op, const Tensor& index, int64_t rows) {
  std::vector<int64_t> numbers(static_cast<size_t>(index.size()));
  for (int64_t i = 0; i < index.size(); ++i) {
    const float value = index.data()[element_offset(index, i)];
    DRML_CHECK(value >= 0 && value < static_cast<float>(rows) && value == std::floor(value),
               wrong_row(op, value, i, rows));
    numbers[static_cast<size_t>(i)] = static_cast<int64_t>(value);
  }
  return numbers;
}

}  // namespace

void cpu::gather_forward(const Tensor& x, const Tensor& index, const Tensor& y) {
  const GatherShape s = make_gather_shape("gather_forward", x, index, y);
  const std::vector<int64_t> rows = read_index("gather_forward", index, s.rows);
#pragma omp parallel for schedule(static) if (s.size() > kParallelSize)
  for (int64_t i = 0; i < s.chosen; ++i) {
    const float* row = x.data() + rows[static_cast<size_t>(i)] * s.length;
    std::copy_n(row, s.length, y.data() + i * s.length);
  }
}

// A thread adds up some columns of all rows, in the order of the index.
void cpu::gather_backward(const Tensor& dy, const Tensor& index, const Tensor& dx) {
  const GatherShape s = make_gather_shape("gather_backward", dx, index, dy);
  const std::vector<int64_t> rows = read_index("gather_backward", index, s.rows);
  constexpr int64_t kColumns = 256;
#pragma omp parallel for schedule(static) if (s.size() > kParallelSize)
  for (int64_t first = 0; first < s.length; first += kColumns) {
    const int64_t end = std::min(s.length, first + kColumns);
    for (int64_t i = 0; i < s.chosen; ++i) {
      const float* from = dy.data() + i * s.length;
      float* to = dx.data() + rows[static_cast<size_t>(i)] * s.length;
      for (int64_t column = first; column < end; ++column) to[column] += from[column];
    }
  }
}

}  // namespace drml
