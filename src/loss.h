// What the losses of every device share: checks of their arguments, what a loss is divided by, and
// the words for a label that is wrong.
#pragma once

#include <algorithm>
#include <optional>
#include <sstream>
#include <string>

#include "attributes.h"
#include "check.h"
#include "elements.h"
#include "tensor.h"

namespace drml {

// Caffe's normalizer, never below 1: `outer` samples of `inner` predictions each, of which `valid`
// have a label.
inline double loss_divisor(Normalization normalization, int64_t outer, int64_t inner,
                           int64_t valid) {
  int64_t divisor = 1;
  switch (normalization) {
    case Normalization::full:
      divisor = outer * inner;
      break;
    case Normalization::valid:
      divisor = valid;
      break;
    case Normalization::batch_size:
      divisor = outer;
      break;
    case Normalization::none:
      break;
  }
  return static_cast<double>(std::max<int64_t>(1, divisor));
}

// Of losses that read no loss_param.
constexpr LossAttrs kPerSample{Normalization::batch_size, std::nullopt};

// The memory of a gradient, null where nobody wants it.
inline float* data_or_null(const Tensor* gradient) {
  return gradient == nullptr ? nullptr : gradient->data();
}

inline void check_scalar(const char* op, const char* name, const Tensor& tensor) {
  DRML_CHECK(tensor.size() == 1, op, ": ", name, " is one number, got shape ",
             to_string(tensor.shape()));
}

// Pairs of predictions and labels, or of two predictions: as many of each, paired in the order of
// their axes. Pairs are numbered as they lie in memory where both lie alike, else in that order
// too.
class LabelledPairs {
 public:
  LabelledPairs(const char* op, const Tensor& x, const Tensor& label) : x_(x), label_(label) {
    DRML_CHECK(x.ndim() > 0 && x.size() == label.size(), op, ": shapes ", to_string(x.shape()),
               " of x and ", to_string(label.shape()), " of label do not hold as many numbers");
    const bool whole = x.is_dense() && x.same_layout(label);
    channels_last_ = whole && !x.is_row_major() && x.is_channels_last();
    direct_ = channels_last_ || (whole && x.is_row_major());
  }

  int64_t size() const { return x_.size(); }
  int64_t samples() const { return x_.dim(0); }
  int64_t columns() const { return samples() > 0 ? size() / samples() : 0; }  // of each sample
  // What losses without a normalization are divided by.
  double batch_divisor() const { return static_cast<double>(std::max<int64_t>(1, samples())); }
  // The number of pair i in the order of the axes.
  int64_t in_order(int64_t i) const {
    if (!channels_last_) return i;
    const int64_t channels = x_.dim(1);
    const int64_t pixels = x_.dim(2) * x_.dim(3);
    const int64_t pixel = i / channels;
    return (pixel / pixels * channels + i % channels) * pixels + pixel % pixels;
  }
  // Where in memory pair number i lies.
  int64_t x_offset(int64_t i) const { return direct_ ? i : element_offset(x_, i); }
  int64_t label_offset(int64_t i) const { return direct_ ? i : element_offset(label_, i); }
  // Of tensors in the host's memory.
  float x(int64_t i) const { return x_.data()[x_offset(i)]; }
  float label(int64_t i) const { return label_.data()[label_offset(i)]; }

 private:
  const Tensor& x_;
  const Tensor& label_;
  bool channels_last_;
  bool direct_;
};

// The word for a label that names none of `classes` classes; it is that of line number `position`.
inline std::string wrong_class(const char* op, float label, int64_t position, int64_t classes) {
  std::ostringstream message;
  message << op << ": label " << label << " at position " << position
          << " is not a class number below " << classes;
  return message.str();
}

// The word for a label of the multi-label loss; it is that of pair number `index`.
inline std::string wrong_occurrence(float label, int64_t index, int64_t columns) {
  std::ostringstream message;
  message << "label " << label << " of sample " << index / columns << ", column " << index % columns
          << " is none of 1 (present), -1 (absent), 0 (unknown); map it to one of these where the "
             "labels are made";
  return message.str();
}

}  // namespace drml
