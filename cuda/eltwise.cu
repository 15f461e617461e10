// Sum, product and maximum of several arrays.
#include <algorithm>
#include <utility>
#include <vector>

#include "cuda/context.h"
#include "cuda/eltwise_kernel.cuh"
#include "eltwise_shape.h"
#include "ops.h"

namespace drml {
namespace cuda {
namespace {

std::vector<const float*> pointers(const std::vector<Tensor>& x) {
  std::vector<const float*> result;
  for (const Tensor& input : x) result.push_back(input.data());
  return result;
}

// Inputs in such an order that the first of equal ones holds the maximum, as in Caffe: there it is
// the second of the first two, and a later one only if it is greater.
std::vector<const float*> max_order(const std::vector<Tensor>& x) {
  std::vector<const float*> result = pointers(x);
  if (result.size() > 1) std::swap(result[0], result[1]);
  return result;
}

// Calls launch(inputs, number of the first of them, start) for kMaxInputs inputs at a time, and
// once when there is none; start is y from the second time on.
template <typename Launch>
void in_turns(const std::vector<const float*>& x, const float* start, const Tensor& y,
              Launch launch) {
  size_t first = 0;
  do {
    EltwiseInputs inputs = {};
    inputs.count = static_cast<int>(std::min<size_t>(x.size() - first, kMaxInputs));
    std::copy_n(x.begin() + static_cast<std::ptrdiff_t>(first), inputs.count, inputs.x);
    launch(inputs, first, start);
    start = y.data();
    first += kMaxInputs;
  } while (first < x.size());
}

}  // namespace
}  // namespace cuda

void cuda::eltwise_sum(const std::vector<Tensor>& x, const std::vector<float>& coeff,
                       const Tensor& y) {
  check_eltwise_sum(x, coeff, y);
  const int64_t n = y.size();
  if (n == 0) return;
  Context& context = Context::of(y);
  in_turns(pointers(x), nullptr, y, [&](EltwiseInputs inputs, size_t first, const float* start) {
    std::copy_n(coeff.data() + first, inputs.count, inputs.coeff);
    DRML_LAUNCH(context, eltwise_sum_kernel, blocks_for(n), kBlock, 0, inputs, n, start, y.data());
  });
}

void cuda::eltwise_product_forward(const std::vector<Tensor>& x, const Tensor& y) {
  check_eltwise("eltwise_product_forward", x, y);
  const int64_t n = y.size();
  if (n == 0) return;
  Context& context = Context::of(y);
  std::vector<const float*> factors = pointers(x);
  factors.erase(factors.begin());
  in_turns(factors, x[0].data(), y, [&](const EltwiseInputs& inputs, size_t, const float* start) {
    DRML_LAUNCH(context, eltwise_product_kernel, blocks_for(n), kBlock, 0, inputs, n, start,
                y.data());
  });
}

void cuda::eltwise_product_backward(const std::vector<Tensor>& x, const Tensor* y, const Tensor& dy,
                                    int64_t index, const Tensor& dx) {
  check_eltwise_gradient("eltwise_product_backward", x, dy, index, dx);
  if (y != nullptr) check_same_layout("eltwise_product_backward", *y, dy);
  const int64_t n = dy.size();
  if (n == 0) return;
  Context& context = Context::of(dy);
  if (y != nullptr) {
    DRML_LAUNCH(context, eltwise_quotient_kernel, blocks_for((n + 3) / 4), kBlock, 0, n, y->data(),
                x[static_cast<size_t>(index)].data(), dy.data(), dx.data());
    return;
  }
  std::vector<const float*> factors = pointers(x);
  factors.erase(factors.begin() + index);
  in_turns(factors, dy.data(), dx, [&](const EltwiseInputs& inputs, size_t, const float* start) {
    DRML_LAUNCH(context, eltwise_product_kernel, blocks_for(n), kBlock, 0, inputs, n, start,
                dx.data());
  });
}

void cuda::eltwise_max_forward(const std::vector<Tensor>& x, const Tensor& y) {
  check_eltwise("eltwise_max_forward", x, y);
  const int64_t n = y.size();
  if (n == 0) return;
  Context& context = Context::of(y);
  std::vector<const float*> inputs = max_order(x);
  const float* start = inputs[0];
  inputs.erase(inputs.begin());
  in_turns(inputs, start, y, [&](const EltwiseInputs& others, size_t, const float* from) {
    DRML_LAUNCH(context, eltwise_max_kernel, blocks_for(n), kBlock, 0, others, n, from, y.data());
  });
}

void cuda::eltwise_max_backward(const std::vector<Tensor>& x, const Tensor& dy, int64_t index,
                                const Tensor& dx) {
  check_eltwise_gradient("eltwise_max_backward", x, dy, index, dx);
  const int64_t n = dy.size();
  if (n == 0) return;
  Context& context = Context::of(dy);
  const int64_t place = index < 2 && x.size() > 1 ? 1 - index : index;
  const float* own = x[static_cast<size_t>(index)].data();
  in_turns(max_order(x), dy.data(), dx,
           [&](const EltwiseInputs& inputs, size_t first, const float* start) {
             DRML_LAUNCH(context, eltwise_max_gradient_kernel, blocks_for(n), kBlock, 0, inputs, n,
                         static_cast<int64_t>(first), place, own, start, dx.data());
           });
}

}  // namespace drml
