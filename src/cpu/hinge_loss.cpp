// One-versus-all hinge loss: Caffe's HingeLoss.
#include "cpu/elementwise.h"
#include "cpu/labelled_lines.h"
#include "hinge_loss_rule.h"
#include "ops.h"

namespace drml {

void cpu::hinge_loss_forward(const Tensor& x, const Tensor& label, const Tensor& y, bool l2) {
  check_scalar("hinge_loss_forward", "y", y);
  check_samples("hinge_loss_forward", x);
  const LabelledLines labelled("hinge_loss_forward", x, label, 1, kPerSample);
  const Lines& lines = labelled.lines;
  const double loss = ordered_sum(lines.count(), [&](int64_t line) {
    const float* scores = x.data() + lines.start(line);
    const int64_t own = labelled.read_class(line);
    double sum = 0;
    for (int64_t i = 0; i < lines.length(); ++i) {
      sum += hinge_term(hinge_margin(scores[i * lines.step()], i == own), l2);
    }
    return sum;
  });
  y.data()[0] = static_cast<float>(loss / labelled.divisor);
}

void cpu::hinge_loss_backward(const Tensor& x, const Tensor& label, const Tensor& dy,
                              const Tensor& dx, bool l2) {
  check_scalar("hinge_loss_backward", "dy", dy);
  check_same_layout("hinge_loss_backward", x, dx);
  check_samples("hinge_loss_backward", x);
  const LabelledLines labelled("hinge_loss_backward", x, label, 1, kPerSample);
  const Lines& lines = labelled.lines;
  const float scale = static_cast<float>(dy.data()[0] / labelled.divisor);
#pragma omp parallel for schedule(static) if (dx.size() > kParallelSize)
  for (int64_t line = 0; line < lines.count(); ++line) {
    const int64_t own = labelled.read_class(line);
    for (int64_t i = 0; i < lines.length(); ++i) {
      const int64_t at = lines.start(line) + i * lines.step();
      dx.data()[at] = hinge_slope(hinge_margin(x.data()[at], i == own), i == own, l2) * scale;
    }
  }
}

}  // namespace drml
