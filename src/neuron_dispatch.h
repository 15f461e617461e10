// Chooses the function of a neuron op at its call, for every device.
#pragma once

#include <cmath>

#include "check.h"
#include "neuron.h"

namespace drml {

// Calls f with the function that the attributes name and that has a slope.
template <typename F>
void with_smooth_neuron(const char* op, const NeuronAttrs& attrs, F f) {
  switch (attrs.kind) {
    case NeuronKind::tanh:
      return f(neuron::TanH{});
    case NeuronKind::elu:
      return f(neuron::Elu{attrs.a});
    case NeuronKind::absval:
      return f(neuron::AbsVal{});
    case NeuronKind::power:
      // Caffe's special cases: they are faster, and x^0 is 1 for every x.
      if (attrs.a == 0 || attrs.b == 0) return f(neuron::Constant{std::pow(attrs.c, attrs.a)});
      if (attrs.a == 1) return f(neuron::Linear{attrs.b, attrs.c});
      if (attrs.a == 2) return f(neuron::Square{attrs.b, attrs.c});
      return f(neuron::Power{attrs.a, attrs.b, attrs.c});
    case NeuronKind::exp:
      return f(neuron::Exp{attrs.a, attrs.b});
    case NeuronKind::log:
      return f(neuron::Log{attrs.a, attrs.b, attrs.c});
    case NeuronKind::bnll:
      return f(neuron::Bnll{});
    case NeuronKind::threshold:
      break;
  }
  fail(op, ": a threshold has no gradient");
}

template <typename F>
void with_neuron(const char* op, const NeuronAttrs& attrs, F f) {
  if (attrs.kind == NeuronKind::threshold) return f(neuron::Threshold{attrs.a});
  with_smooth_neuron(op, attrs, f);
}

}  // namespace drml
