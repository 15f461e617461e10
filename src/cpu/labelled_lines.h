// Lines of scores with a class number each: what the losses of class numbers share on the CPU.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include "attributes.h"
#include "labelled_lines_shape.h"
#include "loss.h"

namespace drml {

// The lines of x, each with the label of the same number; checks all labels when made.
class LabelledLines {
 public:
  LabelledLines(const char* op, const Tensor& x, const Tensor& label, int64_t axis,
                const LossAttrs& attrs)
      : LabelledLines(op, make_labelled_lines_shape(op, x, label, axis), label, attrs) {}

  // The class of a line, or -1 where the label is ignored.
  int64_t read_class(int64_t line) const {
    const float value = label_value(line);
    return ignored(value) ? -1 : static_cast<int64_t>(value);
  }
  // Minus the logarithm of a class's probability, which counts as `least` where it is below.
  static double log_loss(float probability, float least) {
    return -std::log(static_cast<double>(std::max(probability, least)));
  }

  const Lines lines;
  double divisor;

 private:
  LabelledLines(const char* op, const LabelledLinesShape& shape, const Tensor& label,
                const LossAttrs& attrs)
      : lines(shape.lines), label_(label), ignore_(attrs.ignore_label) {
    int64_t valid = 0;
    for (int64_t line = 0; line < lines.count(); ++line) {
      const float value = label_value(line);
      if (ignored(value)) continue;
      DRML_CHECK(
          value >= 0 && value < static_cast<float>(lines.length()) && value == std::floor(value),
          wrong_class(op, value, line, lines.length()));
      ++valid;
    }
    divisor = loss_divisor(attrs.normalization, shape.outer, shape.inner, valid);
  }

  float label_value(int64_t line) const { return label_.data()[element_offset(label_, line)]; }
  bool ignored(float value) const {
    return ignore_.has_value() && value == static_cast<float>(*ignore_);
  }

  const Tensor& label_;
  std::optional<int64_t> ignore_;
};

}  // namespace drml
