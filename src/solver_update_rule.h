// How Caffe's solvers change one weight: the same formulas on every device, in Caffe's order.
//
// `g` is the gradient of the weight `w`; `h` and `h2` are what a solver remembers of earlier
// iterations, its history. `rate` is the learning rate times lr_mult.
#pragma once

#ifndef __CUDACC_RTC__
#include <math.h>
#endif

#include "host_device.h"

namespace drml {

// Adds weight decay's gradient: decay * w for L2, decay * sign(w) for L1.
struct Regularize {
  DRML_HOST_DEVICE float operator()(float g, float w) const {
    const float sign = static_cast<float>((w > 0) - (w < 0));
    return g + decay * (l1 ? sign : w);
  }

  float decay;
  bool l1;
};

struct SgdRule {
  DRML_HOST_DEVICE void operator()(float& w, float g, float& h) const {
    h = momentum * h + rate * regularize(g, w);
    w -= h;
  }

  Regularize regularize;
  float rate;
  float momentum;
};

struct NesterovRule {
  DRML_HOST_DEVICE void operator()(float& w, float g, float& h) const {
    const float old = h;
    h = momentum * h + rate * regularize(g, w);
    w -= (1 + momentum) * h - momentum * old;
  }

  Regularize regularize;
  float rate;
  float momentum;
};

struct AdaGradRule {
  DRML_HOST_DEVICE void operator()(float& w, float g, float& h) const {
    const float gradient = regularize(g, w);
    h += gradient * gradient;
    w -= rate * (gradient / (sqrtf(h) + delta));
  }

  Regularize regularize;
  float rate;
  float delta;
};

struct RmsPropRule {
  DRML_HOST_DEVICE void operator()(float& w, float g, float& h) const {
    const float gradient = regularize(g, w);
    h = rms_decay * h + (1 - rms_decay) * (gradient * gradient);
    w -= rate * (gradient / (sqrtf(h) + delta));
  }

  Regularize regularize;
  float rate;
  float rms_decay;
  float delta;
};

// h gathers squares of gradients, h2 squares of changes.
struct AdaDeltaRule {
  DRML_HOST_DEVICE void operator()(float& w, float g, float& h, float& h2) const {
    const float gradient = regularize(g, w);
    h = momentum * h + (1 - momentum) * (gradient * gradient);
    const float change = gradient * sqrtf((h2 + delta) / (h + delta));
    h2 = momentum * h2 + (1 - momentum) * (change * change);
    w -= rate * change;
  }

  Regularize regularize;
  float rate;
  float momentum;
  float delta;
};

// h gathers gradients, h2 their squares; rate holds the correction for both starting at 0.
struct AdamRule {
  DRML_HOST_DEVICE void operator()(float& w, float g, float& h, float& h2) const {
    const float gradient = regularize(g, w);
    h = momentum * h + (1 - momentum) * gradient;
    h2 = momentum2 * h2 + (1 - momentum2) * (gradient * gradient);
    w -= rate * (h / (sqrtf(h2) + delta));
  }

  Regularize regularize;
  float rate;
  float momentum;
  float momentum2;
  float delta;
};

}  // namespace drml
