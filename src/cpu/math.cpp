// Arrays of any shape: copy, add, scale, reduce.
#include <cmath>

#include "cpu/elementwise.h"
#include "ops.h"

namespace drml {
namespace {

// Calls f(x element, y element) for equal positions of two tensors of one shape and any strides.
template <typename F>
void for_each_pair(const Tensor& x, const Tensor& y, F f) {
  const int64_t size = x.size();
  if (size == 0) return;
  float* px = x.data();
  float* py = y.data();
  if (x.is_dense() && x.same_layout(y)) {
    for_each_index(size, [=](int64_t i) { f(px[i], py[i]); });
    return;
  }
  // The axis that is innermost in y's memory runs in the inner loop.
  int64_t inner = -1;
  for (int64_t axis = 0; axis < y.ndim(); ++axis) {
    if (y.dim(axis) > 1 && (inner < 0 || y.stride(axis) < y.stride(inner))) inner = axis;
  }
  if (inner < 0) {
    f(*px, *py);
    return;
  }
  const int64_t length = x.dim(inner);
  const int64_t step_x = x.stride(inner);
  const int64_t step_y = y.stride(inner);
#pragma omp parallel for schedule(static) if (size > kParallelSize)
  for (int64_t row = 0; row < size / length; ++row) {
    int64_t rest = row;
    int64_t at_x = 0;
    int64_t at_y = 0;
    for (int64_t axis = x.ndim() - 1; axis >= 0; --axis) {
      if (axis == inner) continue;
      const int64_t index = rest % x.dim(axis);
      rest /= x.dim(axis);
      at_x += index * x.stride(axis);
      at_y += index * y.stride(axis);
    }
    for (int64_t i = 0; i < length; ++i) f(px[at_x + i * step_x], py[at_y + i * step_y]);
  }
}

}  // namespace

void cpu::copy(const Tensor& x, const Tensor& y) {
  check_same_shape("copy", x, y);
  for_each_pair(x, y, [](float a, float& b) { b = a; });
}

void cpu::add(const Tensor& x, const Tensor& y) {
  check_same_shape("add", x, y);
  for_each_pair(x, y, [](float a, float& b) { b += a; });
}

void cpu::fill(const Tensor& x, float value) {
  for_each_pair(x, x, [value](float, float& b) { b = value; });
}

void cpu::axpby(float alpha, const Tensor& x, float beta, const Tensor& y) {
  check_same_layout("axpby", x, y);
  // beta 0 means that y's old value, which may be anything, is not read.
  if (beta == 0) {
    for_each_pair(x, y, [alpha](float a, float& b) { b = alpha * a; });
  } else {
    for_each_pair(x, y, [alpha, beta](float a, float& b) { b = alpha * a + beta * b; });
  }
}

void cpu::divide(const Tensor& x, const Tensor& divisor, const Tensor& y) {
  const int64_t length = check_divide(x, divisor, y);
  const float* px = x.data();
  const float* by = divisor.data();
  float* py = y.data();
  for_each_index(x.size(), [=](int64_t i) {
    const float divided_by = by[i / length];
    py[i] = divided_by == 0 ? 0 : px[i] / divided_by;
  });
}

double cpu::sum_squares(const Tensor& x) {
  check_dense("sum_squares", x);
  const float* data = x.data();
  return ordered_sum(x.size(), [=](int64_t i) { return static_cast<double>(data[i]) * data[i]; });
}

double cpu::sum_abs(const Tensor& x) {
  check_dense("sum_abs", x);
  const float* data = x.data();
  return ordered_sum(x.size(), [=](int64_t i) { return static_cast<double>(std::fabs(data[i])); });
}

bool cpu::all_finite(const Tensor& x) {
  check_dense("all_finite", x);
  // v * 0 is 0 for a finite v and NaN otherwise.
  const float* data = x.data();
  return ordered_sum(x.size(), [=](int64_t i) { return static_cast<double>(data[i] * 0.0f); }) == 0;
}

}  // namespace drml
