// The logistic function. A large negative x makes exp(-x) infinite and y exactly 0, as it should.
#include <cmath>

#include "cpu/elementwise.h"
#include "ops.h"

namespace drml {

void cpu::sigmoid_forward(const Tensor& x, const Tensor& y) {
  check_same_layout("sigmoid_forward", x, y);
  const float* px = x.data();
  float* py = y.data();
  for_each_index(x.size(), [=](int64_t i) { py[i] = 1.0f / (1.0f + std::exp(-px[i])); });
}

void cpu::sigmoid_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  check_same_layout("sigmoid_backward", y, dy);
  check_same_layout("sigmoid_backward", y, dx);
  const float* py = y.data();
  const float* pdy = dy.data();
  float* pdx = dx.data();
  for_each_index(y.size(), [=](int64_t i) { pdx[i] = pdy[i] * py[i] * (1.0f - py[i]); });
}

}  // namespace drml
