// Sum, product and maximum of several arrays, in one pass over memory.
#include <algorithm>
#include <vector>

#include "cpu/elementwise.h"
#include "eltwise_shape.h"
#include "ops.h"

namespace drml {
namespace {

// Elements that are combined at a time: y's block stays in the cache while inputs are added.
constexpr int64_t kBlock = 1 << 10;

// Calls f(begin, end) for the blocks of `size` elements.
template <typename F>
void for_each_block(int64_t size, F f) {
#pragma omp parallel for schedule(static) if (size > kParallelSize)
  for (int64_t begin = 0; begin < size; begin += kBlock) f(begin, std::min(begin + kBlock, size));
}

// Which input holds the maximum of element i. Equal values: of the first two the second one, as in
// Caffe, and a later one only if it is greater.
int64_t find_max(const std::vector<Tensor>& x, int64_t i) {
  int64_t best = 0;
  for (int64_t input = 1; input < static_cast<int64_t>(x.size()); ++input) {
    const float value = x[static_cast<size_t>(input)].data()[i];
    const float greatest = x[static_cast<size_t>(best)].data()[i];
    const bool wins = input == 1 ? !(greatest > value) : value > greatest;
    if (wins) best = input;
  }
  return best;
}

}  // namespace

void cpu::eltwise_sum(const std::vector<Tensor>& x, const std::vector<float>& coeff,
                      const Tensor& y) {
  check_eltwise_sum(x, coeff, y);
  float* py = y.data();
  for_each_block(y.size(), [&](int64_t begin, int64_t end) {
    for (size_t input = 0; input < x.size(); ++input) {
      const float* px = x[input].data();
      const float factor = coeff[input];
      if (input == 0) {
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) py[i] = factor * px[i];
      } else {
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) py[i] += factor * px[i];
      }
    }
  });
}

void cpu::eltwise_product_forward(const std::vector<Tensor>& x, const Tensor& y) {
  check_eltwise("eltwise_product_forward", x, y);
  float* py = y.data();
  for_each_block(y.size(), [&](int64_t begin, int64_t end) {
    std::copy(x[0].data() + begin, x[0].data() + end, py + begin);
    for (size_t input = 1; input < x.size(); ++input) {
      const float* px = x[input].data();
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) py[i] *= px[i];
    }
  });
}

void cpu::eltwise_product_backward(const std::vector<Tensor>& x, const Tensor* y, const Tensor& dy,
                                   int64_t index, const Tensor& dx) {
  check_eltwise_gradient("eltwise_product_backward", x, dy, index, dx);
  const float* pdy = dy.data();
  float* pdx = dx.data();
  if (y != nullptr) {
    check_same_layout("eltwise_product_backward", *y, dy);
    const float* py = y->data();
    const float* px = x[static_cast<size_t>(index)].data();
    for_each_index(dy.size(), [=](int64_t i) { pdx[i] = py[i] / px[i] * pdy[i]; });
    return;
  }
  for_each_block(dy.size(), [&](int64_t begin, int64_t end) {
    std::copy(pdy + begin, pdy + end, pdx + begin);
    for (size_t input = 0; input < x.size(); ++input) {
      if (static_cast<int64_t>(input) == index) continue;
      const float* px = x[input].data();
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) pdx[i] *= px[i];
    }
  });
}

void cpu::eltwise_max_forward(const std::vector<Tensor>& x, const Tensor& y) {
  check_eltwise("eltwise_max_forward", x, y);
  float* py = y.data();
  for_each_index(y.size(),
                 [&](int64_t i) { py[i] = x[static_cast<size_t>(find_max(x, i))].data()[i]; });
}

void cpu::eltwise_max_backward(const std::vector<Tensor>& x, const Tensor& dy, int64_t index,
                               const Tensor& dx) {
  check_eltwise_gradient("eltwise_max_backward", x, dy, index, dx);
  const float* pdy = dy.data();
  float* pdx = dx.data();
  for_each_index(dy.size(), [&](int64_t i) { pdx[i] = find_max(x, i) == index ? pdy[i] : 0; });
}

}  // namespace drml
