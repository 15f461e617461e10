// PReLU: a slope for negative x that is learned, one per channel or one for all.
#include "cpu/broadcast.h"
#include "ops.h"
#include "prelu_shape.h"

namespace drml {

void cpu::prelu_forward(const Tensor& x, const Tensor& slope, const Tensor& y) {
  check_prelu_forward("prelu_forward", x, slope, y);
  if (x.size() == 0) return;
  const float* px = x.data();
  const float* below = slope.data();
  float* py = y.data();
  for_each_element(Broadcast(x, slope, 1),
                   [=](int64_t i, int64_t p) { py[i] = px[i] > 0 ? px[i] : below[p] * px[i]; });
}

void cpu::prelu_backward(const Tensor& x, const Tensor& slope, const Tensor& dy, const Tensor* dx,
                         const Tensor* dslope) {
  check_prelu_backward("prelu_backward", x, slope, dy, dx, dslope);
  if (x.size() == 0) return;
  const Broadcast broadcast(x, slope, 1);
  const float* px = x.data();
  const float* pdy = dy.data();
  // The sums come first: dx may be the memory of dy.
  if (dslope != nullptr) {
    const Sums sums = sum_by_parameter(broadcast, slope.size(), [=](int64_t i, int64_t) {
      const double term = double{pdy[i]} * px[i];
      return Terms{px[i] > 0 ? 0 : term, 0};
    });
    for (size_t p = 0; p < sums.first.size(); ++p) {
      dslope->data()[p] += static_cast<float>(sums.first[p]);
    }
  }
  if (dx != nullptr) {
    const float* below = slope.data();
    float* pdx = dx->data();
    for_each_element(
        broadcast, [=](int64_t i, int64_t p) { pdx[i] = px[i] > 0 ? pdy[i] : below[p] * pdy[i]; });
  }
}

}  // namespace drml
