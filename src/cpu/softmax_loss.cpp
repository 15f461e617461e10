// Cross entropy of a softmax: Caffe's SoftmaxWithLoss after its softmax.
#include <cfloat>
#include <cmath>

#include "cpu/elementwise.h"
#include "loss.h"
#include "ops.h"
#include "softmax_loss_shape.h"

namespace drml {
namespace {

// The lines of prob, each with the label of the same number; checks all labels when made.
class LabelledLines {
 public:
  LabelledLines(const char* op, const Tensor& prob, const Tensor& label, int64_t axis,
                const LossAttrs& attrs)
      : LabelledLines(op, make_softmax_loss_shape(op, prob, label, axis), label, attrs) {}

  bool ignored(int64_t line) const {
    return ignore_.has_value() && label_value(line) == static_cast<float>(*ignore_);
  }
  // Where in memory the line's probability of its own class lies.
  int64_t class_offset(int64_t line) const {
    return lines.start(line) + static_cast<int64_t>(label_value(line)) * lines.step();
  }

  const Lines lines;
  double divisor;

 private:
  LabelledLines(const char* op, const SoftmaxLossShape& shape, const Tensor& label,
                const LossAttrs& attrs)
      : lines(shape.lines), label_(label), ignore_(attrs.ignore_label) {
    int64_t valid = 0;
    for (int64_t line = 0; line < lines.count(); ++line) {
      if (ignored(line)) continue;
      const float value = label_value(line);
      DRML_CHECK(
          value >= 0 && value < static_cast<float>(lines.length()) && value == std::floor(value),
          wrong_class(op, value, line, lines.length()));
      ++valid;
    }
    divisor = loss_divisor(attrs.normalization, shape.outer, shape.inner, valid);
  }

  float label_value(int64_t line) const { return label_.data()[element_offset(label_, line)]; }

  const Tensor& label_;
  std::optional<int64_t> ignore_;
};

}  // namespace

void cpu::softmax_loss_forward(const Tensor& prob, const Tensor& label, const Tensor& y,
                               int64_t axis, const LossAttrs& attrs) {
  check_scalar("softmax_loss_forward", "y", y);
  const LabelledLines labelled("softmax_loss_forward", prob, label, axis, attrs);
  const float* p = prob.data();
  const double loss = ordered_sum(labelled.lines.count(), [&](int64_t line) {
    if (labelled.ignored(line)) return 0.0;
    // A probability that underflowed counts as the least float, as in Caffe: the loss stays finite.
    return -std::log(static_cast<double>(std::max(p[labelled.class_offset(line)], FLT_MIN)));
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
    const bool ignored = labelled.ignored(line);
    for (int64_t i = 0; i < lines.length(); ++i) {
      const int64_t at = start + i * lines.step();
      pdx[at] = ignored ? 0 : p[at] * scale;
    }
    if (!ignored) {
      const int64_t at = labelled.class_offset(line);
      pdx[at] = (p[at] - 1.0f) * scale;
    }
  }
}

}  // namespace drml
