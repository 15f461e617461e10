// Layers that compute each number of y from one of x: value and slope of each function, written
// once for both backends. CUDA's compilers read this file too, in C++14 and without the host's
// headers.
#pragma once

#ifndef __CUDACC_RTC__
#include <math.h>
#endif

#include "host_device.h"

namespace drml {

// What neuron_forward computes; `a`, `b` and `c` are the numbers of NeuronAttrs.
enum class NeuronKind {
  tanh,       // tanh(x)
  elu,        // x, and below zero a * (e^x - 1)
  absval,     // |x|
  power,      // (b * x + c)^a
  exp,        // a * e^(b * x)
  log,        // a * log(b * x + c)
  bnll,       // log(1 + e^x)
  threshold,  // 1 where x > a, else 0; has no slope
};

struct NeuronAttrs {
  NeuronKind kind = NeuronKind::tanh;
  float a = 0;
  float b = 0;
  float c = 0;
};

namespace neuron {

// Each has value(x) = y and slope(x, y) = dy/dx. Slopes are Caffe's formulas, of x or of y: where
// they need y alone, x may have been overwritten by it.

struct TanH {
  DRML_HOST_DEVICE float value(float x) const { return tanhf(x); }
  DRML_HOST_DEVICE float slope(float, float y) const { return 1.0f - y * y; }
};

struct Elu {
  float alpha;

  DRML_HOST_DEVICE float value(float x) const { return x > 0 ? x : alpha * expm1f(x); }
  DRML_HOST_DEVICE float slope(float x, float y) const { return x > 0 ? 1.0f : alpha + y; }
};

struct AbsVal {
  DRML_HOST_DEVICE float value(float x) const { return fabsf(x); }
  DRML_HOST_DEVICE float slope(float x, float) const {
    return (x > 0 ? 1.0f : 0.0f) - (x < 0 ? 1.0f : 0.0f);
  }
};

struct Constant {
  float constant;

  DRML_HOST_DEVICE float value(float) const { return constant; }
  DRML_HOST_DEVICE float slope(float, float) const { return 0.0f; }
};

struct Linear {
  float scale;
  float shift;

  DRML_HOST_DEVICE float value(float x) const { return scale * x + shift; }
  DRML_HOST_DEVICE float slope(float, float) const { return scale; }
};

struct Square {
  float scale;
  float shift;

  DRML_HOST_DEVICE float value(float x) const {
    const float root = scale * x + shift;
    return root * root;
  }
  DRML_HOST_DEVICE float slope(float x, float) const { return 2.0f * scale * (scale * x + shift); }
};

struct Power {
  float power;
  float scale;
  float shift;

  DRML_HOST_DEVICE float value(float x) const { return powf(scale * x + shift, power); }
  // Not a number where the base is 0, as in Caffe.
  DRML_HOST_DEVICE float slope(float x, float y) const {
    return power * scale * (y / (scale * x + shift));
  }
};

struct Exp {
  float factor;
  float scale;

  DRML_HOST_DEVICE float value(float x) const { return factor * expf(scale * x); }
  DRML_HOST_DEVICE float slope(float, float y) const { return scale * y; }
};

struct Log {
  float factor;
  float scale;
  float shift;

  DRML_HOST_DEVICE float value(float x) const { return factor * logf(scale * x + shift); }
  DRML_HOST_DEVICE float slope(float x, float) const {
    return factor * scale / (scale * x + shift);
  }
};

struct Bnll {
  // No exponential is large.
  DRML_HOST_DEVICE float value(float x) const {
    return x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x));
  }
  DRML_HOST_DEVICE float slope(float x, float) const {
    const float power = expf(x > 50.0f ? 50.0f : x);
    return power / (power + 1.0f);
  }
};

struct Threshold {
  float threshold;

  DRML_HOST_DEVICE float value(float x) const { return x > threshold ? 1.0f : 0.0f; }
};

}  // namespace neuron
}  // namespace drml
