// Distances of pairs of samples, small for similar ones: Caffe's ContrastiveLoss.
#include "contrastive_loss_shape.h"
#include "cuda/context.h"
#include "cuda/contrastive_loss_kernel.cuh"
#include "cuda/loss_launch.h"
#include "cuda/strided.h"
#include "ops.h"

namespace drml {
namespace {

cuda::ContrastivePairs places_of_pairs(const char* op, const LabelledPairs& pairs, const Tensor& a,
                                       const Tensor& b, const Tensor& label) {
  return {pairs.samples(), pairs.columns(), cuda::places_of(op, a), cuda::places_of(op, b),
          cuda::places_of(op, label)};
}

uint64_t* fault_of_pairs(cuda::Context& context, const char* op) {
  return context.fault(
      [=](int64_t position, float label) { return wrong_pair_label(op, label, position); });
}

}  // namespace

void cuda::contrastive_loss_forward(const Tensor& a, const Tensor& b, const Tensor& label,
                                    const Tensor& distance, const Tensor& y, float margin,
                                    bool legacy) {
  const char* op = "contrastive_loss_forward";
  check_scalar(op, "y", y);
  const LabelledPairs pairs = make_contrastive_pairs(op, a, b, label, distance);
  const ContrastivePairs places = places_of_pairs(op, pairs, a, b, label);
  Context& context = Context::of(a);
  if (pairs.columns() >= kLineThreads) {
    DRML_LAUNCH(context, (contrastive_distance_kernel<kLineThreads>),
                blocks_for(pairs.samples(), 1), kLineThreads, 0, places, a.data(), b.data(),
                distance.data());
  } else {
    DRML_LAUNCH(context, (contrastive_distance_kernel<1>), blocks_for(pairs.samples()), kBlock, 0,
                places, a.data(), b.data(), distance.data());
  }
  const LossGrid grid = loss_grid(pairs.samples());
  const LossDivisor divisor = {2 * pairs.batch_divisor(), nullptr, 0};
  const LossOutput out = {y.data(), loss_scratch(context).sums};
  DRML_LAUNCH(context, contrastive_loss_forward_kernel, grid.blocks, grid.threads, 0, places,
              distance.data(), label.data(), fault_of_pairs(context, op),
              ContrastiveRule{margin, legacy}, divisor, out);
  finish_loss(context, grid, divisor, out);
}

void cuda::contrastive_loss_backward(const Tensor& a, const Tensor& b, const Tensor& label,
                                     const Tensor& distance, const Tensor& dy, const Tensor* da,
                                     const Tensor* db, float margin, bool legacy) {
  const char* op = "contrastive_loss_backward";
  check_scalar(op, "dy", dy);
  if (da != nullptr) check_same_layout(op, a, *da);
  if (db != nullptr) check_same_layout(op, b, *db);
  const LabelledPairs pairs = make_contrastive_pairs(op, a, b, label, distance);
  if (pairs.size() == 0) return;
  Context& context = Context::of(a);
  DRML_LAUNCH(context, contrastive_loss_backward_kernel, blocks_for(pairs.size()), kBlock, 0,
              places_of_pairs(op, pairs, a, b, label), a.data(), b.data(), distance.data(),
              label.data(), fault_of_pairs(context, op), ContrastiveRule{margin, legacy},
              static_cast<float>(pairs.batch_divisor()), dy.data(), data_or_null(da),
              data_or_null(db));
}

}  // namespace drml
