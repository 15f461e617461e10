// Functions of one number, element after element: TanH, ELU, AbsVal, Power, Exp, Log, BNLL,
// Threshold.
#include "neuron.h"

#include "cpu/elementwise.h"
#include "neuron_dispatch.h"
#include "ops.h"

namespace drml {

void cpu::neuron_forward(const Tensor& x, const Tensor& y, const NeuronAttrs& attrs) {
  const char* op = "neuron_forward";
  check_same_layout(op, x, y);
  const float* px = x.data();
  float* py = y.data();
  with_neuron(op, attrs, [=, size = x.size()](auto f) {
    for_each_index(size, [=](int64_t i) { py[i] = f.value(px[i]); });
  });
}

void cpu::neuron_backward(const Tensor& x, const Tensor& y, const Tensor& dy, const Tensor& dx,
                          const NeuronAttrs& attrs) {
  const char* op = "neuron_backward";
  check_same_layout(op, x, y);
  check_same_layout(op, x, dy);
  check_same_layout(op, x, dx);
  const float* px = x.data();
  const float* py = y.data();
  const float* pdy = dy.data();
  float* pdx = dx.data();
  with_smooth_neuron(op, attrs, [=, size = x.size()](auto f) {
    for_each_index(size, [=](int64_t i) { pdx[i] = pdy[i] * f.slope(px[i], py[i]); });
  });
}

}  // namespace drml
