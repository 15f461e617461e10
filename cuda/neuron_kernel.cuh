// Kernels of functions of one number: one thread computes four elements at a time.
#pragma once

#include "elementwise.cuh"
#include "neuron.h"

namespace drml {
namespace cuda {

// y may be x.
template <typename F>
__global__ void neuron_forward_kernel(int64_t n, const float* x, float* y, F f) {
  for_each_element(n, [=](float in, float& out) { out = f.value(in); }, x, y);
}

// dx may be dy.
template <typename F>
__global__ void neuron_backward_kernel(int64_t n, const float* x, const float* y, const float* dy,
                                       float* dx, F f) {
  for_each_element(
      n, [=](float in, float out, float dout, float& din) { din = dout * f.slope(in, out); }, x, y,
      dy, dx);
}

#ifdef DRML_KERNELS_ONLY
#define DRML_SMOOTH_NEURON(F)                                                             \
  template __global__ void neuron_forward_kernel<F>(int64_t, const float*, float*, F);    \
  template __global__ void neuron_backward_kernel<F>(int64_t, const float*, const float*, \
                                                     const float*, float*, F);
DRML_SMOOTH_NEURON(neuron::TanH)
DRML_SMOOTH_NEURON(neuron::Elu)
DRML_SMOOTH_NEURON(neuron::AbsVal)
DRML_SMOOTH_NEURON(neuron::Constant)
DRML_SMOOTH_NEURON(neuron::Linear)
DRML_SMOOTH_NEURON(neuron::Square)
DRML_SMOOTH_NEURON(neuron::Power)
DRML_SMOOTH_NEURON(neuron::Exp)
DRML_SMOOTH_NEURON(neuron::Log)
DRML_SMOOTH_NEURON(neuron::Bnll)
template __global__ void neuron_forward_kernel<neuron::Threshold>(int64_t, const float*, float*,
                                                                  neuron::Threshold);
#endif

}  // namespace cuda
}  // namespace drml
