// Cross entropy of a softmax: Caffe's SoftmaxWithLoss after its softmax.
#include <cfloat>

#include "cpu/elementwise.h"
#include "cpu/labelled_lines.h"
#include "ops.h"

namespace drml {

void cpu::softmax_loss_forward(const Tensor& prob, const Tensor& label, const Tensor& y,
                               int64_t axis, const LossAttrs& attrs) {
  check_scalar("softmax_loss_forward", "y", y);
  const LabelledLines labelled("softmax_loss_forward", prob, label, axis, attrs);
  const Lines& lines = labelled.lines;
  const float* p = prob.data();
  const double loss = ordered_sum(lines.count(), [&](int64_t line) {
    const int64_t own = labelled.read_class(line);
    if (own < 0) return 0.0;
    // A probability that underflowed counts as the least float, as in Caffe: the loss stays finite.
    return LabelledLines::log_loss(p[lines.start(line) + own * lines.step()], FLT_MIN);
  });
  y.data()[0] = static_cast<float>(loss / labelled.divisor);
}

void cpu::softmax_loss_backward(const Tensor& prob, const Tensor& label, const Tensor& dy,
                                const Tensor& dx, int64_t axis, const LossAttrs& attrs) {
  check_scalar("softmax_loss_backward", "dy", dy);
  check_same_layout("softmax_loss_backward", prob, dx);
  const LabelledLines labelled("softmax_loss_backward", prob, label, axis, attrs);
  const Lines& lines = labelled.lines;
  const float scale = static_cast<float>(dy.data()[0] / labelled.divisor);
  const float* p = prob.data();
  float* pdx = dx.data();
#pragma omp parallel for schedule(static) if (dx.size() > kParallelSize)
  for (int64_t line = 0; line < lines.count(); ++line) {
    const int64_t start = lines.start(line);
    const int64_t own = labelled.read_class(line);
    for (int64_t i = 0; i < lines.length(); ++i) {
      const int64_t at = start + i * lines.step();
      pdx[at] = own < 0 ? 0 : p[at] * scale;
    }
    if (own >= 0) {
      const int64_t at = start + own * lines.step();
      pdx[at] = (p[at] - 1.0f) * scale;
    }
  }
}

}  // namespace drml
