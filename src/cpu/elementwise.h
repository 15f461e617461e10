// What ops share that visit element after element: checks, loops, sums, and where elements lie.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "check.h"
#include "tensor.h"

namespace drml {

// Fewer elements than this are one thread's work: waking the others would take longer.
constexpr int64_t kParallelSize = 1 << 14;

inline void check_same_layout(const char* op, const Tensor& x, const Tensor& y) {
  DRML_CHECK(x.shape() == y.shape(), op, ": tensors of shapes ", to_string(x.shape()), " and ",
             to_string(y.shape()), " should have one shape");
  DRML_CHECK(x.is_dense() && x.same_layout(y), op, ": tensors of shape ", to_string(x.shape()),
             " lie differently in memory");
}

// Calls f(i) for 0 <= i < size, vectorized and on all threads.
template <typename F>
void for_each_index(int64_t size, F f) {
#pragma omp parallel for simd schedule(static) if (parallel : size > kParallelSize)
  for (int64_t i = 0; i < size; ++i) f(i);
}

// The sum of f(i), by blocks of a fixed size that are added in order: the same bits for any number
// of threads.
template <typename F>
double ordered_sum(int64_t size, F f) {
  constexpr int64_t kBlock = 1 << 12;
  const int64_t blocks = (size + kBlock - 1) / kBlock;
  std::vector<double> partial(static_cast<size_t>(blocks));
#pragma omp parallel for schedule(static) if (size > kParallelSize)
  for (int64_t block = 0; block < blocks; ++block) {
    double sum = 0;
    const int64_t end = std::min(size, (block + 1) * kBlock);
#pragma omp simd reduction(+ : sum)
    for (int64_t i = block * kBlock; i < end; ++i) sum += f(i);
    partial[static_cast<size_t>(block)] = sum;
  }
  double total = 0;
  for (double sum : partial) total += sum;
  return total;
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
