// The logistic function.
#include "cuda/context.h"
#include "cuda/sigmoid_kernel.cuh"
#include "elements.h"
#include "ops.h"

namespace drml {

void cuda::sigmoid_forward(const Tensor& x, const Tensor& y) {
  check_same_layout("sigmoid_forward", x, y);
  const int64_t n = x.size();
  if (n == 0) return;
  Context& context = Context::of(x);
  DRML_LAUNCH(context, sigmoid_forward_kernel, blocks_for((n + 3) / 4), kBlock, 0, n, x.data(),
              y.data());
}

void cuda::sigmoid_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  check_same_layout("sigmoid_backward", y, dy);
  check_same_layout("sigmoid_backward", y, dx);
  const int64_t n = y.size();
  if (n == 0) return;
  Context& context = Context::of(y);
  DRML_LAUNCH(context, sigmoid_backward_kernel, blocks_for((n + 3) / 4), kBlock, 0, n, y.data(),
              dy.data(), dx.data());
}

}  // namespace drml
