// Half the squared distance of two arrays: Caffe's EuclideanLoss.
#include "cpu/elementwise.h"
#include "loss.h"
#include "ops.h"

namespace drml {
namespace {

float difference(const LabelledPairs& pairs, int64_t i) { return pairs.x(i) - pairs.label(i); }

}  // namespace

void cpu::euclidean_loss_forward(const Tensor& x, const Tensor& label, const Tensor& y) {
  check_scalar("euclidean_loss_forward", "y", y);
  const LabelledPairs pairs("euclidean_loss_forward", x, label);
  const double squares = ordered_sum(pairs.size(), [&](int64_t i) {
    const double d = difference(pairs, i);
    return d * d;
  });
  y.data()[0] = static_cast<float>(squares / 2 / pairs.batch_divisor());
}

void cpu::euclidean_loss_backward(const Tensor& x, const Tensor& label, const Tensor& dy,
                                  const Tensor* dx, const Tensor* dlabel) {
  check_scalar("euclidean_loss_backward", "dy", dy);
  if (dx != nullptr) check_same_layout("euclidean_loss_backward", x, *dx);
  if (dlabel != nullptr) check_same_layout("euclidean_loss_backward", label, *dlabel);
  const LabelledPairs pairs("euclidean_loss_backward", x, label);
  const float scale = static_cast<float>(dy.data()[0] / pairs.batch_divisor());
  float* pdx = data_or_null(dx);
  float* pdlabel = data_or_null(dlabel);
  for_each_index(pairs.size(), [&, scale](int64_t i) {
    const float gradient = difference(pairs, i) * scale;
    if (pdx != nullptr) pdx[pairs.x_offset(i)] = gradient;
    if (pdlabel != nullptr) pdlabel[pairs.label_offset(i)] = -gradient;
  });
}

}  // namespace drml
