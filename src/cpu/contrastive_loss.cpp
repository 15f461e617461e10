// Distances of pairs of samples, small for similar ones: Caffe's ContrastiveLoss.
#include <cmath>

#include "contrastive_loss_rule.h"
#include "contrastive_loss_shape.h"
#include "cpu/elementwise.h"
#include "ops.h"

namespace drml {
namespace {

// The labels of the pairs; checks all when made.
class PairLabels {
 public:
  PairLabels(const char* op, const Tensor& label) : label_(label) {
    for (int64_t pair = 0; pair < label.size(); ++pair) {
      DRML_CHECK(is_pair_label(value(pair)), wrong_pair_label(op, value(pair), pair));
    }
  }

  bool similar(int64_t pair) const { return value(pair) != 0; }

 private:
  float value(int64_t pair) const { return label_.data()[element_offset(label_, pair)]; }

  const Tensor& label_;
};

}  // namespace

void cpu::contrastive_loss_forward(const Tensor& a, const Tensor& b, const Tensor& label,
                                   const Tensor& distance, const Tensor& y, float margin,
                                   bool legacy) {
  const char* op = "contrastive_loss_forward";
  check_scalar(op, "y", y);
  const LabelledPairs pairs = make_contrastive_pairs(op, a, b, label, distance);
  const PairLabels labels(op, label);
  const int64_t columns = pairs.columns();
  float* squared = distance.data();
#pragma omp parallel for schedule(static) if (pairs.size() > kParallelSize)
  for (int64_t sample = 0; sample < pairs.samples(); ++sample) {
    double sum = 0;
    for (int64_t i = sample * columns; i < (sample + 1) * columns; ++i) {
      const double difference = pairs.x(i) - pairs.label(i);
      sum += difference * difference;
    }
    squared[sample] = static_cast<float>(sum);
  }
  const ContrastiveRule rule{margin, legacy};
  const double loss = ordered_sum(pairs.samples(), [&](int64_t sample) {
    return double{rule.term(squared[sample], labels.similar(sample))};
  });
  y.data()[0] = static_cast<float>(loss / 2 / pairs.batch_divisor());
}

void cpu::contrastive_loss_backward(const Tensor& a, const Tensor& b, const Tensor& label,
                                    const Tensor& distance, const Tensor& dy, const Tensor* da,
                                    const Tensor* db, float margin, bool legacy) {
  const char* op = "contrastive_loss_backward";
  check_scalar(op, "dy", dy);
  if (da != nullptr) check_same_layout(op, a, *da);
  if (db != nullptr) check_same_layout(op, b, *db);
  const LabelledPairs pairs = make_contrastive_pairs(op, a, b, label, distance);
  const PairLabels labels(op, label);
  const ContrastiveRule rule{margin, legacy};
  const int64_t columns = pairs.columns();
  const float scale = static_cast<float>(dy.data()[0] / pairs.batch_divisor());
  float* pda = data_or_null(da);
  float* pdb = data_or_null(db);
#pragma omp parallel for schedule(static) if (pairs.size() > kParallelSize)
  for (int64_t sample = 0; sample < pairs.samples(); ++sample) {
    const float factor = rule.factor(distance.data()[sample], labels.similar(sample)) * scale;
    for (int64_t i = sample * columns; i < (sample + 1) * columns; ++i) {
      const float gradient = factor * (pairs.x(i) - pairs.label(i));
      if (pda != nullptr) pda[pairs.x_offset(i)] = gradient;
      if (pdb != nullptr) pdb[pairs.label_offset(i)] = -gradient;
    }
  }
}

}  // namespace drml
