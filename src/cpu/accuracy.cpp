// Fraction of samples whose label is among the top_k scores: Caffe's Accuracy.
#include <cmath>
#include <vector>

#include "accuracy_shape.h"
#include "elements.h"
#include "loss.h"
#include "ops.h"

namespace drml {

void cpu::accuracy_forward(const Tensor& x, const Tensor& label, const Tensor& y,
                           const Tensor* per_class, int64_t top_k, int64_t axis,
                           std::optional<int64_t> ignore_label) {
  const Lines lines = check_accuracy_shapes(x, label, y, per_class, axis);
  const int64_t classes = lines.length();
  std::vector<int64_t> seen(static_cast<size_t>(classes));
  std::vector<int64_t> right(static_cast<size_t>(classes));
  int64_t total = 0;
  int64_t total_right = 0;
  for (int64_t line = 0; line < lines.count(); ++line) {
    const float value = label.data()[element_offset(label, line)];
    if (ignore_label.has_value() && value == static_cast<float>(*ignore_label)) continue;
    DRML_CHECK(value >= 0 && value < static_cast<float>(classes) && value == std::floor(value),
               wrong_class("accuracy_forward", value, line, classes));
    const auto own = static_cast<int64_t>(value);
    const float* scores = x.data() + lines.start(line);
    // Classes that come before the label's own one. Of equal scores the later class comes first,
    // as in Caffe; a score that is not a number is behind none, so it never counts as right.
    int64_t before = 0;
    for (int64_t other = 0; other < classes; ++other) {
      const float score = scores[other * lines.step()];
      const float own_score = scores[own * lines.step()];
      const bool behind = score < own_score || (score == own_score && other <= own);
      if (!behind) ++before;
    }
    const bool correct = before < top_k;
    ++seen[static_cast<size_t>(own)];
    right[static_cast<size_t>(own)] += correct;
    ++total;
    total_right += correct;
  }
  const auto ratio = [](int64_t part, int64_t whole) {
    return whole == 0 ? 0.0f : static_cast<float>(part) / static_cast<float>(whole);
  };
  y.data()[0] = ratio(total_right, total);
  if (per_class == nullptr) return;
  for (int64_t c = 0; c < classes; ++c) {
    per_class->data()[c] = ratio(right[static_cast<size_t>(c)], seen[static_cast<size_t>(c)]);
  }
}

}  // namespace drml
