// Cross entropy of independent logits with targets in [0, 1]: Caffe's SigmoidCrossEntropyLoss.
#include <cmath>

#include "cpu/elementwise.h"
#include "loss.h"
#include "ops.h"

namespace drml {
namespace {

// Caffe cuts a target's fraction off before it compares with ignore_label.
bool ignored(float target, const LossAttrs& attrs) {
  return attrs.ignore_label.has_value() &&
         std::trunc(target) == static_cast<float>(*attrs.ignore_label);
}

double divisor(const LabelledPairs& pairs, const LossAttrs& attrs) {
  const double valid = ordered_sum(
      pairs.size(), [&](int64_t i) { return ignored(pairs.label(i), attrs) ? 0.0 : 1.0; });
  return loss_divisor(attrs.normalization, pairs.samples(), pairs.columns(),
                      static_cast<int64_t>(valid));
}

}  // namespace

void cpu::sigmoid_cross_entropy_loss_forward(const Tensor& x, const Tensor& label, const Tensor& y,
                                             const LossAttrs& attrs) {
  check_scalar("sigmoid_cross_entropy_loss_forward", "y", y);
  const LabelledPairs pairs("sigmoid_cross_entropy_loss_forward", x, label);
  const double loss = ordered_sum(pairs.size(), [&](int64_t i) {
    const float target = pairs.label(i);
    if (ignored(target, attrs)) return 0.0;
    // log(1 + e^x) - x * target without a large exponential.
    const double logit = pairs.x(i);
    return std::max(logit, 0.0) + std::log1p(std::exp(-std::fabs(logit))) - logit * target;
  });
  y.data()[0] = static_cast<float>(loss / divisor(pairs, attrs));
}

void cpu::sigmoid_cross_entropy_loss_backward(const Tensor& x, const Tensor& label,
                                              const Tensor& dy, const Tensor& dx,
                                              const LossAttrs& attrs) {
  check_scalar("sigmoid_cross_entropy_loss_backward", "dy", dy);
  check_same_layout("sigmoid_cross_entropy_loss_backward", x, dx);
  const LabelledPairs pairs("sigmoid_cross_entropy_loss_backward", x, label);
  const float scale = static_cast<float>(dy.data()[0] / divisor(pairs, attrs));
  float* pdx = dx.data();
  for_each_index(pairs.size(), [&, scale](int64_t i) {
    const float target = pairs.label(i);
    const float probability = 1.0f / (1.0f + std::exp(-pairs.x(i)));
    pdx[pairs.x_offset(i)] = ignored(target, attrs) ? 0 : (probability - target) * scale;
  });
}

}  // namespace drml
