// Cross entropy of a softmax, weighted by a matrix row for each label: Caffe's InfogainLoss after
// its softmax.
#include "cpu/elementwise.h"
#include "cpu/labelled_lines.h"
#include "infogain_loss_shape.h"
#include "least_probability.h"
#include "ops.h"

namespace drml {

void cpu::infogain_loss_forward(const Tensor& prob, const Tensor& label, const Tensor& infogain,
                                const Tensor& y, int64_t axis, const LossAttrs& attrs) {
  check_scalar("infogain_loss_forward", "y", y);
  const LabelledLines labelled("infogain_loss_forward", prob, label, axis, attrs);
  const Lines& lines = labelled.lines;
  check_infogain("infogain_loss_forward", lines, infogain);
  const double loss = ordered_sum(lines.count(), [&](int64_t line) {
    const int64_t own = labelled.read_class(line);
    if (own < 0) return 0.0;
    const float* weights = infogain.data() + own * lines.length();
    const float* p = prob.data() + lines.start(line);
    double sum = 0;
    for (int64_t i = 0; i < lines.length(); ++i) {
      sum += weights[i] * LabelledLines::log_loss(p[i * lines.step()], kLeastProbability);
    }
    return sum;
  });
  y.data()[0] = static_cast<float>(loss / labelled.divisor);
}

void cpu::infogain_loss_backward(const Tensor& prob, const Tensor& label, const Tensor& infogain,
                                 const Tensor& row_sums, const Tensor& dy, const Tensor& dx,
                                 int64_t axis, const LossAttrs& attrs) {
  check_scalar("infogain_loss_backward", "dy", dy);
  check_same_layout("infogain_loss_backward", prob, dx);
  const LabelledLines labelled("infogain_loss_backward", prob, label, axis, attrs);
  const Lines& lines = labelled.lines;
  check_infogain("infogain_loss_backward", lines, infogain);
  check_row_sums("infogain_loss_backward", lines, row_sums);
  const float scale = static_cast<float>(dy.data()[0] / labelled.divisor);
#pragma omp parallel for schedule(static) if (dx.size() > kParallelSize)
  for (int64_t line = 0; line < lines.count(); ++line) {
    const int64_t own = labelled.read_class(line);
    for (int64_t i = 0; i < lines.length(); ++i) {
      const int64_t at = lines.start(line) + i * lines.step();
      dx.data()[at] = own < 0 ? 0
                              : (prob.data()[at] * row_sums.data()[own] -
                                 infogain.data()[own * lines.length() + i]) *
                                    scale;
    }
  }
}

}  // namespace drml
