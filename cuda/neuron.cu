// Functions of one number, element after element: TanH, ELU, AbsVal, Power, Exp, Log, BNLL,
// Threshold.
#include "cuda/context.h"
#include "cuda/neuron_kernel.cuh"
#include "elements.h"
#include "neuron_dispatch.h"
#include "ops.h"

namespace drml {

void cuda::neuron_forward(const Tensor& x, const Tensor& y, const NeuronAttrs& attrs) {
  const char* op = "neuron_forward";
  check_same_layout(op, x, y);
  const int64_t n = x.size();
  with_neuron(op, attrs, [&](auto f) {
    if (n == 0) return;
    DRML_LAUNCH(Context::of(x), (neuron_forward_kernel<decltype(f)>), blocks_for((n + 3) / 4),
                kBlock, 0, n, x.data(), y.data(), f);
  });
}

void cuda::neuron_backward(const Tensor& x, const Tensor& y, const Tensor& dy, const Tensor& dx,
                           const NeuronAttrs& attrs) {
  const char* op = "neuron_backward";
  check_same_layout(op, x, y);
  check_same_layout(op, x, dy);
  check_same_layout(op, x, dx);
  const int64_t n = x.size();
  with_smooth_neuron(op, attrs, [&](auto f) {
    if (n == 0) return;
    DRML_LAUNCH(Context::of(x), (neuron_backward_kernel<decltype(f)>), blocks_for((n + 3) / 4),
                kBlock, 0, n, x.data(), y.data(), dy.data(), dx.data(), f);
  });
}

}  // namespace drml
