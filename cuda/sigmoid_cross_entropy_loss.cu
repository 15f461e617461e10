// Cross entropy of independent logits with targets in [0, 1]: Caffe's SigmoidCrossEntropyLoss.
#include "cuda/context.h"
#include "cuda/loss_launch.h"
#include "cuda/sigmoid_cross_entropy_loss_kernel.cuh"
#include "cuda/strided.h"
#include "loss.h"
#include "ops.h"

namespace drml {
namespace {

cuda::SigmoidPairs places_of_pairs(const char* op, const LabelledPairs& pairs, const Tensor& x,
                                   const Tensor& label, const LossAttrs& attrs) {
  return {pairs.size(), cuda::places_of(op, x), cuda::places_of(op, label),
          cuda::ignored_label(attrs.ignore_label)};
}

}  // namespace

void cuda::sigmoid_cross_entropy_loss_forward(const Tensor& x, const Tensor& label, const Tensor& y,
                                              const LossAttrs& attrs) {
  const char* op = "sigmoid_cross_entropy_loss_forward";
  check_scalar(op, "y", y);
  const LabelledPairs pairs(op, x, label);
  Context& context = Context::of(x);
  const LossGrid grid = loss_grid(pairs.size());
  const LossScratch scratch = loss_scratch(context);
  const LossDivisor divisor =
      make_divisor(context, op, attrs, pairs.samples(), pairs.columns(), label, scratch);
  const LossOutput out = {y.data(), scratch.sums};
  DRML_LAUNCH(context, sigmoid_cross_entropy_loss_forward_kernel, grid.blocks, grid.threads, 0,
              places_of_pairs(op, pairs, x, label, attrs), x.data(), label.data(), divisor, out);
  finish_loss(context, grid, divisor, out);
}

void cuda::sigmoid_cross_entropy_loss_backward(const Tensor& x, const Tensor& label,
                                               const Tensor& dy, const Tensor& dx,
                                               const LossAttrs& attrs) {
  const char* op = "sigmoid_cross_entropy_loss_backward";
  check_scalar(op, "dy", dy);
  check_same_layout(op, x, dx);
  const LabelledPairs pairs(op, x, label);
  if (pairs.size() == 0) return;
  Context& context = Context::of(x);
  const LossDivisor divisor = make_divisor(context, op, attrs, pairs.samples(), pairs.columns(),
                                           label, loss_scratch(context));
  DRML_LAUNCH(context, sigmoid_cross_entropy_loss_backward_kernel, blocks_for(pairs.size()), kBlock,
              0, places_of_pairs(op, pairs, x, label, attrs), x.data(), label.data(), divisor,
              dy.data(), dx.data());
}

}  // namespace drml
