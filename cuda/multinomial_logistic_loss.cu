// Cross entropy of probabilities: Caffe's MultinomialLogisticLoss.
#include "cuda/context.h"
#include "cuda/labelled_lines.h"
#include "cuda/multinomial_logistic_loss_kernel.cuh"
#include "labelled_lines_shape.h"
#include "ops.h"

namespace drml {

void cuda::multinomial_logistic_loss_forward(const Tensor& prob, const Tensor& label,
                                             const Tensor& y) {
  const char* op = "multinomial_logistic_loss_forward";
  check_scalar(op, "y", y);
  check_samples(op, prob);
  const LabelledLinesShape shape = make_labelled_lines_shape(op, prob, label, 1);
  Context& context = Context::of(prob);
  const LossGrid grid = loss_grid(shape.lines.count());
  const LossScratch scratch = loss_scratch(context);
  const LossDivisor divisor =
      make_divisor(context, op, kPerSample, shape.outer, shape.inner, label, scratch);
  const LossOutput out = {y.data(), scratch.sums};
  DRML_LAUNCH(context, multinomial_logistic_loss_forward_kernel, grid.blocks, grid.threads, 0,
              places_of_labelled(op, prob, label, 1, kPerSample), prob.data(), label.data(),
              fault_of_labels(context, op, shape.lines.length()), divisor, out);
  finish_loss(context, grid, divisor, out);
}

void cuda::multinomial_logistic_loss_backward(const Tensor& prob, const Tensor& label,
                                              const Tensor& dy, const Tensor& dx) {
  const char* op = "multinomial_logistic_loss_backward";
  check_scalar(op, "dy", dy);
  check_same_layout(op, prob, dx);
  check_samples(op, prob);
  const LabelledLinesShape shape = make_labelled_lines_shape(op, prob, label, 1);
  if (dx.size() == 0) return;
  Context& context = Context::of(prob);
  const LossDivisor divisor =
      make_divisor(context, op, kPerSample, shape.outer, shape.inner, label, loss_scratch(context));
  DRML_LAUNCH(context, multinomial_logistic_loss_backward_kernel, blocks_for(dx.size()), kBlock, 0,
              places_of_labelled(op, prob, label, 1, kPerSample), prob.data(), label.data(),
              fault_of_labels(context, op, shape.lines.length()), divisor, dy.data(), dx.data());
}

}  // namespace drml
