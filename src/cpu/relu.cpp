// ReLU and leaky ReLU.
#include "cpu/elementwise.h"
#include "ops.h"

namespace drml {

void cpu::relu_forward(const Tensor& x, const Tensor& y, float negative_slope) {
  check_same_layout("relu_forward", x, y);
  const float* px = x.data();
  float* py = y.data();
  // Comparisons are written so that NaN passes through: a net that diverged has to be noticed.
  if (negative_slope == 0) {
    for_each_index(x.size(), [=](int64_t i) { py[i] = px[i] < 0 ? 0 : px[i]; });
  } else {
    for_each_index(x.size(),
                   [=](int64_t i) { py[i] = px[i] < 0 ? negative_slope * px[i] : px[i]; });
  }
}

void cpu::relu_backward(const Tensor& x, const Tensor& dy, const Tensor& dx, float negative_slope) {
  check_same_layout("relu_backward", x, dy);
  check_same_layout("relu_backward", x, dx);
  const float* px = x.data();
  const float* pdy = dy.data();
  float* pdx = dx.data();
  for_each_index(x.size(), [=](int64_t i) {
    const float slope = px[i] > 0 ? 1.0f : negative_slope;
    pdx[i] = pdy[i] * slope;
  });
}

}  // namespace drml
