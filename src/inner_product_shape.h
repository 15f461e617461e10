// Sizes of an inner product, checked in one place for every device.
#pragma once

#include <cstdint>

#include "check.h"
#include "parameter.h"
#include "tensor.h"

namespace drml {

struct InnerProductShape {
  int64_t rows, inputs, outputs;  // M, D, K
};

// `bias` is that of forward or the dbias of backward, and `y` the dy.
inline InnerProductShape make_inner_product_shape(const char* op, const Tensor& x,
                                                  const Tensor& weight, const Tensor* bias,
                                                  const Tensor& y, bool transpose) {
  DRML_CHECK(weight.ndim() == 2 && weight.is_row_major() && weight.size() > 0, op,
             ": weight needs two axes, got ", to_string(weight.shape()));
  const int64_t inputs = weight.dim(transpose ? 0 : 1);
  const int64_t outputs = weight.dim(transpose ? 1 : 0);
  DRML_CHECK(x.size() % inputs == 0, op, ": x ", to_string(x.shape()), " does not hold rows of ",
             inputs, ", which weight ", to_string(weight.shape()), " needs");
  const int64_t rows = x.size() / inputs;
  DRML_CHECK(y.size() == rows * outputs, op, ": y ", to_string(y.shape()), " does not hold ", rows,
             " rows of ", outputs);
  if (bias != nullptr) check_parameter(op, "bias", *bias, {outputs});
  return {rows, inputs, outputs};
}

inline void check_inner_product_gradients(const char* op, const Tensor& x, const Tensor& weight,
                                          const Tensor* dx, const Tensor* dweight) {
  if (dweight != nullptr) check_parameter(op, "dweight", *dweight, weight.shape());
  DRML_CHECK(dx == nullptr || dx->shape() == x.shape(), op, ": dx and x ", to_string(x.shape()),
             " need one shape");
}

}  // namespace drml
