// Half the squared distance of two arrays: Caffe's EuclideanLoss.
#include "cuda/context.h"
#include "cuda/euclidean_loss_kernel.cuh"
#include "cuda/loss_launch.h"
#include "cuda/strided.h"
#include "loss.h"
#include "ops.h"

namespace drml {
namespace {

cuda::EuclideanPairs places_of_pairs(const char* op, const LabelledPairs& pairs, const Tensor& x,
                                     const Tensor& label) {
  return {pairs.size(), cuda::places_of(op, x), cuda::places_of(op, label)};
}

}  // namespace

void cuda::euclidean_loss_forward(const Tensor& x, const Tensor& label, const Tensor& y) {
  const char* op = "euclidean_loss_forward";
  check_scalar(op, "y", y);
  const LabelledPairs pairs(op, x, label);
  Context& context = Context::of(x);
  const LossGrid grid = loss_grid(pairs.size());
  const LossDivisor divisor = {2 * pairs.batch_divisor(), nullptr, 0};
  const LossOutput out = {y.data(), loss_scratch(context).sums};
  DRML_LAUNCH(context, euclidean_loss_forward_kernel, grid.blocks, grid.threads, 0,
              places_of_pairs(op, pairs, x, label), x.data(), label.data(), divisor, out);
  finish_loss(context, grid, divisor, out);
}

void cuda::euclidean_loss_backward(const Tensor& x, const Tensor& label, const Tensor& dy,
                                   const Tensor* dx, const Tensor* dlabel) {
  const char* op = "euclidean_loss_backward";
  check_scalar(op, "dy", dy);
  if (dx != nullptr) check_same_layout(op, x, *dx);
  if (dlabel != nullptr) check_same_layout(op, label, *dlabel);
  const LabelledPairs pairs(op, x, label);
  if (pairs.size() == 0) return;
  Context& context = Context::of(x);
  DRML_LAUNCH(context, euclidean_loss_backward_kernel, blocks_for(pairs.size()), kBlock, 0,
              places_of_pairs(op, pairs, x, label), x.data(), label.data(),
              static_cast<float>(pairs.batch_divisor()), dy.data(), data_or_null(dx),
              data_or_null(dlabel));
}

}  // namespace drml
