// What ops of every device share that visit element after element: checks, and where elements lie.
#pragma once

#include <cstdint>

#include "check.h"
#include "tensor.h"

namespace drml {

inline void check_same_shape(const char* op, const Tensor& x, const Tensor& y) {
  DRML_CHECK(x.shape() == y.shape(), op, ": x has shape ", to_string(x.shape()), ", y ",
             to_string(y.shape()));
}

inline void check_dense(const char* op, const Tensor& x) {
  DRML_CHECK(x.is_dense(), op, ": tensor of shape ", to_string(x.shape()), " has gaps in memory");
}

inline void check_same_layout(const char* op, const Tensor& x, const Tensor& y) {
  DRML_CHECK(x.shape() == y.shape(), op, ": tensors of shapes ", to_string(x.shape()), " and ",
             to_string(y.shape()), " should have one shape");
  DRML_CHECK(x.is_dense() && x.same_layout(y), op, ": tensors of shape ", to_string(x.shape()),
             " lie differently in memory");
}

// Returns how many numbers of x in a row have one divisor.
inline int64_t check_divide(const Tensor& x, const Tensor& divisor, const Tensor& y) {
  check_same_layout("divide", x, y);
  if (divisor.size() == 1) return x.size();
  DRML_CHECK(divisor.ndim() == 1 && x.ndim() > 0 && divisor.dim(0) == x.dim(0),
             "divide: divisor needs one number, or one for each index of axis 0 of x ",
             to_string(x.shape()), ", got shape ", to_string(divisor.shape()));
  DRML_CHECK(x.is_row_major() && divisor.is_row_major(),
             "divide: with a divisor per index of axis 0, tensors need to lie row-major in memory");
  return x.size() == 0 ? 0 : x.size() / x.dim(0);
}

// Where in memory the element lies that is number `index` in the order of the axes.
inline int64_t element_offset(const Tensor& x, int64_t index) {
  int64_t offset = 0;
  for (int64_t axis = x.ndim() - 1; axis >= 0; --axis) {
    offset += index % x.dim(axis) * x.stride(axis);
    index /= x.dim(axis);
  }
  return offset;
}

// The lines of a tensor along one axis, numbered in the order of the other axes.
class Lines {
 public:
  Lines(const char* op, const Tensor& x, int64_t axis) : x_(x), axis_(axis) {
    DRML_CHECK(axis >= 0 && axis < x.ndim(), op, ": shape ", to_string(x.shape()), " has no axis ",
               axis);
    DRML_CHECK(x.dim(axis) > 0, op, ": axis ", axis, " of shape ", to_string(x.shape()),
               " is empty");
    count_ = 1;
    for (int64_t other = 0; other < x.ndim(); ++other) {
      if (other != axis) count_ *= x.dim(other);
    }
  }

  int64_t count() const { return count_; }
  int64_t length() const { return x_.dim(axis_); }
  int64_t step() const { return x_.stride(axis_); }

  // Where in memory a line's first element lies.
  int64_t start(int64_t line) const {
    int64_t offset = 0;
    for (int64_t other = x_.ndim() - 1; other >= 0; --other) {
      if (other == axis_) continue;
      offset += line % x_.dim(other) * x_.stride(other);
      line /= x_.dim(other);
    }
    return offset;
  }

 private:
  const Tensor& x_;
  int64_t axis_;
  int64_t count_;
};

}  // namespace drml
