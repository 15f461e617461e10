// One-versus-all hinge loss: Caffe's HingeLoss.
#include "cuda/context.h"
#include "cuda/hinge_loss_kernel.cuh"
#include "cuda/labelled_lines.h"
#include "labelled_lines_shape.h"
#include "ops.h"

namespace drml {

void cuda::hinge_loss_forward(const Tensor& x, const Tensor& label, const Tensor& y, bool l2) {
  const char* op = "hinge_loss_forward";
  check_scalar(op, "y", y);
  check_samples(op, x);
  const LabelledLinesShape shape = make_labelled_lines_shape(op, x, label, 1);
  Context& context = Context::of(x);
  const LossGrid grid = loss_grid(x.size());
  const LossScratch scratch = loss_scratch(context);
  const LossDivisor divisor =
      make_divisor(context, op, kPerSample, shape.outer, shape.inner, label, scratch);
  const LossOutput out = {y.data(), scratch.sums};
  DRML_LAUNCH(context, hinge_loss_forward_kernel, grid.blocks, grid.threads, 0,
              places_of_labelled(op, x, label, 1, kPerSample), x.data(), label.data(),
              fault_of_labels(context, op, shape.lines.length()), l2, divisor, out);
  finish_loss(context, grid, divisor, out);
}

void cuda::hinge_loss_backward(const Tensor& x, const Tensor& label, const Tensor& dy,
                               const Tensor& dx, bool l2) {
  const char* op = "hinge_loss_backward";
  check_scalar(op, "dy", dy);
  check_same_layout(op, x, dx);
  check_samples(op, x);
  const LabelledLinesShape shape = make_labelled_lines_shape(op, x, label, 1);
  if (dx.size() == 0) return;
  Context& context = Context::of(x);
  const LossDivisor divisor =
      make_divisor(context, op, kPerSample, shape.outer, shape.inner, label, loss_scratch(context));
  DRML_LAUNCH(context, hinge_loss_backward_kernel, blocks_for(dx.size()), kBlock, 0,
              places_of_labelled(op, x, label, 1, kPerSample), x.data(), label.data(),
              fault_of_labels(context, op, shape.lines.length()), l2, divisor, dy.data(),
              dx.data());
}

}  // namespace drml
