// Softmax along one axis of an array of any layout. The greatest value of a line is subtracted
// before exp, so no value overflows.
#include "cuda/lines.h"
#include "cuda/softmax_kernel.cuh"
#include "elements.h"
#include "ops.h"

namespace drml {

void cuda::softmax_forward(const Tensor& x, const Tensor& y, int64_t axis) {
  check_same_layout("softmax_forward", x, y);
  const LinePlaces lines = places_of_lines("softmax_forward", x, axis);
  if (lines.count == 0) return;
  Context& context = Context::of(x);
  DRML_LAUNCH_LINES(context, softmax_forward_kernel, lines, x.data(), y.data());
}

void cuda::softmax_backward(const Tensor& y, const Tensor& dy, const Tensor& dx, int64_t axis) {
  check_same_layout("softmax_backward", y, dy);
  check_same_layout("softmax_backward", y, dx);
  const LinePlaces lines = places_of_lines("softmax_backward", y, axis);
  if (lines.count == 0) return;
  Context& context = Context::of(y);
  DRML_LAUNCH_LINES(context, softmax_backward_kernel, lines, y.data(), dy.data(), dx.data());
}

}  // namespace drml
