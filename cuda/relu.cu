// ReLU and leaky ReLU.
#include "cuda/context.h"
#include "cuda/relu_kernel.cuh"
#include "elements.h"
#include "ops.h"

namespace drml {

void cuda::relu_forward(const Tensor& x, const Tensor& y, float negative_slope) {
  check_same_layout("relu_forward", x, y);
  const int64_t n = x.size();
  if (n == 0) return;
  Context& context = Context::of(x);
  DRML_LAUNCH(context, relu_forward_kernel, blocks_for((n + 3) / 4), kBlock, 0, n, x.data(),
              y.data(), negative_slope);
}

void cuda::relu_backward(const Tensor& x, const Tensor& dy, const Tensor& dx,
                         float negative_slope) {
  check_same_layout("relu_backward", x, dy);
  check_same_layout("relu_backward", x, dx);
  const int64_t n = x.size();
  if (n == 0) return;
  Context& context = Context::of(x);
  DRML_LAUNCH(context, relu_backward_kernel, blocks_for((n + 3) / 4), kBlock, 0, n, x.data(),
              dy.data(), dx.data(), negative_slope);
}

}  // namespace drml
