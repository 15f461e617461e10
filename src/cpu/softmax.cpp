// Softmax along one axis of an array of any layout. The greatest value of a line is subtracted
// before exp, so no value overflows.
#include <cmath>

#include "cpu/elementwise.h"
#include "ops.h"

namespace drml {

void cpu::softmax_forward(const Tensor& x, const Tensor& y, int64_t axis) {
  check_same_layout("softmax_forward", x, y);
  const Lines lines("softmax_forward", x, axis);
  const int64_t length = lines.length();
  const int64_t step = lines.step();
#pragma omp parallel for schedule(static) if (x.size() > kParallelSize)
  for (int64_t line = 0; line < lines.count(); ++line) {
    const float* px = x.data() + lines.start(line);
    float* py = y.data() + lines.start(line);
    float greatest = px[0];
    for (int64_t i = 1; i < length; ++i) greatest = std::max(greatest, px[i * step]);
    float sum = 0;
    for (int64_t i = 0; i < length; ++i) {
      py[i * step] = std::exp(px[i * step] - greatest);
      sum += py[i * step];
    }
    for (int64_t i = 0; i < length; ++i) py[i * step] /= sum;
  }
}

void cpu::softmax_backward(const Tensor& y, const Tensor& dy, const Tensor& dx, int64_t axis) {
  check_same_layout("softmax_backward", y, dy);
  check_same_layout("softmax_backward", y, dx);
  const Lines lines("softmax_backward", y, axis);
  const int64_t length = lines.length();
  const int64_t step = lines.step();
#pragma omp parallel for schedule(static) if (y.size() > kParallelSize)
  for (int64_t line = 0; line < lines.count(); ++line) {
    const int64_t start = lines.start(line);
    const float* py = y.data() + start;
    const float* pdy = dy.data() + start;
    float* pdx = dx.data() + start;
    float dot = 0;
    for (int64_t i = 0; i < length; ++i) dot += py[i * step] * pdy[i * step];
    for (int64_t i = 0; i < length; ++i) pdx[i * step] = (pdy[i * step] - dot) * py[i * step];
  }
}

}  // namespace drml
