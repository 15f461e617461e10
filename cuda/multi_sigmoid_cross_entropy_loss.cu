// The paper's loss over action units (section 3.3): labels 1 present, -1 absent, 0 not annotated.
// 0 gives neither loss nor gradient; the sum is divided by the batch size only, so a batch with few
// annotations counts for less. Weights against class imbalance are ours.
#include "cuda/context.h"
#include "cuda/loss_launch.h"
#include "cuda/multi_sigmoid_cross_entropy_loss_kernel.cuh"
#include "cuda/strided.h"
#include "multi_sigmoid_cross_entropy_loss_shape.h"
#include "ops.h"

namespace drml {
namespace {

cuda::MultiSigmoidPairs places_of_pairs(const char* op, const LabelledPairs& pairs, const Tensor& x,
                                        const Tensor& label, const Tensor* weight) {
  return {pairs.size(), cuda::places_of(op, x), cuda::places_of(op, label),
          make_label_weights(op, x, pairs, weight)};
}

uint64_t* fault_of_labels(cuda::Context& context, int64_t columns) {
  return context.fault(
      [=](int64_t index, float label) { return wrong_occurrence(label, index, columns); });
}

}  // namespace

void cuda::multi_sigmoid_cross_entropy_loss_forward(const Tensor& x, const Tensor& label,
                                                    const Tensor* weight, const Tensor& y) {
  const char* op = "multi_sigmoid_cross_entropy_loss_forward";
  check_scalar(op, "y", y);
  const LabelledPairs pairs(op, x, label);
  Context& context = Context::of(x);
  const LossGrid grid = loss_grid(pairs.size());
  const LossDivisor divisor = {pairs.batch_divisor(), nullptr, 0};
  const LossOutput out = {y.data(), loss_scratch(context).sums};
  DRML_LAUNCH(context, multi_sigmoid_cross_entropy_loss_forward_kernel, grid.blocks, grid.threads,
              0, places_of_pairs(op, pairs, x, label, weight), x.data(), label.data(),
              fault_of_labels(context, pairs.columns()), divisor, out);
  finish_loss(context, grid, divisor, out);
}

void cuda::multi_sigmoid_cross_entropy_loss_backward(const Tensor& x, const Tensor& label,
                                                     const Tensor* weight, const Tensor& dy,
                                                     const Tensor& dx) {
  const char* op = "multi_sigmoid_cross_entropy_loss_backward";
  check_scalar(op, "dy", dy);
  check_same_layout(op, x, dx);
  const LabelledPairs pairs(op, x, label);
  if (pairs.size() == 0) return;
  Context& context = Context::of(x);
  DRML_LAUNCH(context, multi_sigmoid_cross_entropy_loss_backward_kernel, blocks_for(pairs.size()),
              kBlock, 0, places_of_pairs(op, pairs, x, label, weight), x.data(), label.data(),
              fault_of_labels(context, pairs.columns()), static_cast<float>(pairs.batch_divisor()),
              dy.data(), dx.data());
}

}  // namespace drml
