// The paper's loss over action units (section 3.3): labels 1 present, -1 absent, 0 not annotated.
// 0 gives neither loss nor gradient; the sum is divided by the batch size only, so a batch with few
// annotations counts for less. Weights against class imbalance are ours.
#include <cmath>

#include "cpu/elementwise.h"
#include "multi_sigmoid_cross_entropy_loss_shape.h"
#include "ops.h"

namespace drml {
namespace {

void check_labels(const LabelledPairs& pairs) {
  for (int64_t i = 0; i < pairs.size(); ++i) {
    const float label = pairs.label(i);
    DRML_CHECK(label == 1 || label == 0 || label == -1,
               wrong_occurrence(label, pairs.in_order(i), pairs.columns()));
  }
}

}  // namespace

void cpu::multi_sigmoid_cross_entropy_loss_forward(const Tensor& x, const Tensor& label,
                                                   const Tensor* weight, const Tensor& y) {
  const char* op = "multi_sigmoid_cross_entropy_loss_forward";
  check_scalar(op, "y", y);
  const LabelledPairs pairs(op, x, label);
  const LabelWeights weights = make_label_weights(op, x, pairs, weight);
  check_labels(pairs);
  const double loss = ordered_sum(pairs.size(), [&](int64_t i) {
    const float sign = pairs.label(i);
    if (sign == 0) return 0.0;
    // -log(sigmoid(z)) = log(1 + e^-z), without a large exponential.
    const double z = double{sign} * pairs.x(i);
    return weights.of(pairs.in_order(i), sign) *
           (std::max(-z, 0.0) + std::log1p(std::exp(-std::fabs(z))));
  });
  y.data()[0] = static_cast<float>(loss / pairs.batch_divisor());
}

void cpu::multi_sigmoid_cross_entropy_loss_backward(const Tensor& x, const Tensor& label,
                                                    const Tensor* weight, const Tensor& dy,
                                                    const Tensor& dx) {
  const char* op = "multi_sigmoid_cross_entropy_loss_backward";
  check_scalar(op, "dy", dy);
  check_same_layout(op, x, dx);
  const LabelledPairs pairs(op, x, label);
  const LabelWeights weights = make_label_weights(op, x, pairs, weight);
  check_labels(pairs);
  const float scale = dy.data()[0] / static_cast<float>(pairs.batch_divisor());
  float* pdx = dx.data();
  for_each_index(pairs.size(), [&, scale](int64_t i) {
    const float label_value = pairs.label(i);
    const float present = label_value > 0 ? 1.0f : 0.0f;
    const float probability = 1.0f / (1.0f + std::exp(-pairs.x(i)));
    pdx[pairs.x_offset(i)] = label_value == 0 ? 0
                                              : (probability - present) * scale *
                                                    weights.of(pairs.in_order(i), label_value);
  });
}

}  // namespace drml
