// y = x * scale + bias, with scale and bias broadcast over some axes of x.
#include "cpu/broadcast.h"
#include "ops.h"
#include "scale_shape.h"

namespace drml {
namespace {

// Memory for a bias that lies as scale does: of four axes, a bottom lies channels-last and a
// parameter row-major.
Tensor memory_like(const Tensor& scale) { return {scale.shape(), !scale.is_row_major()}; }

void multiply(const Broadcast& broadcast, const Tensor& x, const Tensor& scale, const Tensor& y) {
  const float* from = x.data();
  const float* factor = scale.data();
  float* to = y.data();
  for_each_element(broadcast, [=](int64_t i, int64_t p) { to[i] = from[i] * factor[p]; });
}

void add_to(const Tensor& sum, const std::vector<double>& terms) {
  for (size_t i = 0; i < terms.size(); ++i) sum.data()[i] += static_cast<float>(terms[i]);
}

void add_bias(const Tensor& x, const Tensor& bias, const Tensor& y, int64_t axis) {
  const float* from = x.data();
  const float* term = bias.data();
  float* to = y.data();
  for_each_element(Broadcast(x, bias, axis),
                   [=](int64_t i, int64_t p) { to[i] = from[i] + term[p]; });
}

void add_bias_gradient(const Tensor& dy, const Tensor& dbias, int64_t axis) {
  const float* gradient = dy.data();
  const Sums sums = sum_by_parameter(Broadcast(dy, dbias, axis), dbias.size(),
                                     [=](int64_t i, int64_t) { return Terms{gradient[i], 0}; });
  add_to(dbias, sums.first);
}

}  // namespace

void cpu::scale_forward(const Tensor& x, const Tensor* scale, const Tensor* bias, const Tensor& y,
                        int64_t axis) {
  const char* op = "scale_forward";
  check_scale_forward(op, x, scale, bias, y, axis);
  if (x.size() == 0) return;
  if (scale == nullptr) return add_bias(x, *bias, y, axis);
  const Broadcast broadcast(x, *scale, axis);
  if (bias == nullptr) return multiply(broadcast, x, *scale, y);
  Tensor terms = *bias;
  if (!bias->same_layout(*scale)) {
    terms = memory_like(*scale);
    copy(*bias, terms);
  }
  const float* from = x.data();
  const float* factor = scale->data();
  const float* term = terms.data();
  float* to = y.data();
  for_each_element(broadcast, [=](int64_t i, int64_t p) { to[i] = from[i] * factor[p] + term[p]; });
}

void cpu::scale_backward(const Tensor& x, const Tensor* scale, const Tensor& dy, const Tensor* dx,
                         const Tensor* dscale, const Tensor* dbias, int64_t axis) {
  const char* op = "scale_backward";
  check_scale_backward(op, x, scale, dy, dx, dscale, dbias, axis);
  if (x.size() == 0) return;
  if (scale == nullptr) {
    if (dbias != nullptr) add_bias_gradient(dy, *dbias, axis);
    if (dx != nullptr && dx->data() != dy.data()) copy(dy, *dx);
    return;
  }
  const Broadcast broadcast(x, *scale, axis);
  if (dscale != nullptr || dbias != nullptr) {
    const float* value = x.data();
    const float* gradient = dy.data();
    const Sums sums = sum_by_parameter(broadcast, scale->size(), [=](int64_t i, int64_t) {
      const double g = gradient[i];
      return Terms{g * value[i], g};
    });
    if (dscale != nullptr) add_to(*dscale, sums.first);
    if (dbias != nullptr) {
      const Tensor terms = dbias->same_layout(*scale) ? *dbias : memory_like(*scale);
      add_to(terms, sums.second);
      if (!dbias->same_layout(*scale)) add(terms, *dbias);
    }
  }
  if (dx != nullptr) multiply(broadcast, dy, *scale, *dx);
}

}  // namespace drml
