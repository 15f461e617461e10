// Cross entropy of a softmax, weighted by a matrix row for each label: Caffe's InfogainLoss after
// its softmax.
#include "cuda/context.h"
#include "cuda/infogain_loss_kernel.cuh"
#include "cuda/labelled_lines.h"
#include "infogain_loss_shape.h"
#include "ops.h"

namespace drml {

void cuda::infogain_loss_forward(const Tensor& prob, const Tensor& label, const Tensor& infogain,
                                 const Tensor& y, int64_t axis, const LossAttrs& attrs) {
  const char* op = "infogain_loss_forward";
  check_scalar(op, "y", y);
  const LabelledLinesShape shape = make_labelled_lines_shape(op, prob, label, axis);
  check_infogain(op, shape.lines, infogain);
  Context& context = Context::of(prob);
  const LossGrid grid = loss_grid(prob.size());
  const LossScratch scratch = loss_scratch(context);
  const LossDivisor divisor =
      make_divisor(context, op, attrs, shape.outer, shape.inner, label, scratch);
  const LossOutput out = {y.data(), scratch.sums};
  DRML_LAUNCH(context, infogain_loss_forward_kernel, grid.blocks, grid.threads, 0,
              places_of_labelled(op, prob, label, axis, attrs), prob.data(), label.data(),
              infogain.data(), fault_of_labels(context, op, shape.lines.length()), divisor, out);
  finish_loss(context, grid, divisor, out);
}

void cuda::infogain_loss_backward(const Tensor& prob, const Tensor& label, const Tensor& infogain,
                                  const Tensor& row_sums, const Tensor& dy, const Tensor& dx,
                                  int64_t axis, const LossAttrs& attrs) {
  const char* op = "infogain_loss_backward";
  check_scalar(op, "dy", dy);
  check_same_layout(op, prob, dx);
  const LabelledLinesShape shape = make_labelled_lines_shape(op, prob, label, axis);
  check_infogain(op, shape.lines, infogain);
  check_row_sums(op, shape.lines, row_sums);
  if (dx.size() == 0) return;
  Context& context = Context::of(prob);
  const LossDivisor divisor =
      make_divisor(context, op, attrs, shape.outer, shape.inner, label, loss_scratch(context));
  DRML_LAUNCH(context, infogain_loss_backward_kernel, blocks_for(dx.size()), kBlock, 0,
              places_of_labelled(op, prob, label, axis, attrs), prob.data(), label.data(),
              infogain.data(), row_sums.data(), fault_of_labels(context, op, shape.lines.length()),
              divisor, dy.data(), dx.data());
}

}  // namespace drml
