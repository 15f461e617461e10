// Cross entropy of probabilities: Caffe's MultinomialLogisticLoss.
#include <algorithm>

#include "cpu/elementwise.h"
#include "cpu/labelled_lines.h"
#include "least_probability.h"
#include "ops.h"

namespace drml {

void cpu::multinomial_logistic_loss_forward(const Tensor& prob, const Tensor& label,
                                            const Tensor& y) {
  check_scalar("multinomial_logistic_loss_forward", "y", y);
  check_samples("multinomial_logistic_loss_forward", prob);
  const LabelledLines labelled("multinomial_logistic_loss_forward", prob, label, 1, kPerSample);
  const Lines& lines = labelled.lines;
  const double loss = ordered_sum(lines.count(), [&](int64_t line) {
    const int64_t at = lines.start(line) + labelled.read_class(line) * lines.step();
    return LabelledLines::log_loss(prob.data()[at], kLeastProbability);
  });
  y.data()[0] = static_cast<float>(loss / labelled.divisor);
}

void cpu::multinomial_logistic_loss_backward(const Tensor& prob, const Tensor& label,
                                             const Tensor& dy, const Tensor& dx) {
  check_scalar("multinomial_logistic_loss_backward", "dy", dy);
  check_same_layout("multinomial_logistic_loss_backward", prob, dx);
  check_samples("multinomial_logistic_loss_backward", prob);
  const LabelledLines labelled("multinomial_logistic_loss_backward", prob, label, 1, kPerSample);
  const Lines& lines = labelled.lines;
  const float scale = static_cast<float>(dy.data()[0] / labelled.divisor);
  cpu::fill(dx, 0);
  for (int64_t line = 0; line < lines.count(); ++line) {
    const int64_t at = lines.start(line) + labelled.read_class(line) * lines.step();
    dx.data()[at] = -scale / std::max(prob.data()[at], kLeastProbability);
  }
}

}  // namespace drml
