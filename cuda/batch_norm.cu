// Batch normalization, without scale and shift.
#include "batch_norm_shape.h"
#include "cuda/batch_norm_kernel.cuh"
#include "cuda/broadcast.h"
#include "cuda/context.h"
#include "elements.h"
#include "ops.h"

namespace drml {
namespace {

// Writes the statistics of x.
void compute_statistics(const char* op, const Tensor& x, const Tensor& mean,
                        const Tensor& variance) {
  cuda::Context& context = cuda::Context::of(x);
  const cuda::GroupsLaunch launch = cuda::make_groups(op, x, mean, 1);
  auto* parts = reinterpret_cast<cuda::BatchNormPart*>(
      context.scratch(launch.partials * static_cast<int64_t>(sizeof(cuda::BatchNormPart))));
  if (launch.by_block) {
    DRML_LAUNCH(context, (cuda::batch_norm_parts_kernel<true>), launch.grid, launch.block, 0,
                launch.groups, x.data(), parts);
  } else {
    DRML_LAUNCH(context, (cuda::batch_norm_parts_kernel<false>), launch.grid, launch.block, 0,
                launch.groups, x.data(), parts);
  }
  DRML_LAUNCH(context, cuda::batch_norm_merge_kernel, launch.grid_parts, cuda::kBlock, 0,
              launch.groups, parts, mean.data(), variance.data());
}

// What the gradient of each channel takes from all of its numbers, in scratch memory.
cuda::BatchNormSlope* compute_slopes(const char* op, const Tensor& x, const Tensor& mean,
                                     const Tensor& variance, const Tensor& dy, float eps) {
  cuda::Context& context = cuda::Context::of(x);
  const cuda::GroupsLaunch launch = cuda::make_groups(op, x, mean, 1);
  char* scratch =
      context.scratch(launch.partials * static_cast<int64_t>(sizeof(float2)) +
                      launch.groups.count * static_cast<int64_t>(sizeof(cuda::BatchNormSlope)));
  auto* partial = reinterpret_cast<float2*>(scratch);
  auto* slopes = reinterpret_cast<cuda::BatchNormSlope*>(partial + launch.partials);
  if (launch.by_block) {
    DRML_LAUNCH(context, (cuda::batch_norm_sums_kernel<true>), launch.grid, launch.block, 0,
                launch.groups, x.data(), mean.data(), dy.data(), partial);
  } else {
    DRML_LAUNCH(context, (cuda::batch_norm_sums_kernel<false>), launch.grid, launch.block, 0,
                launch.groups, x.data(), mean.data(), dy.data(), partial);
  }
  DRML_LAUNCH(context, cuda::batch_norm_slopes_kernel, launch.grid_parts, cuda::kBlock, 0,
              launch.groups, partial, variance.data(), eps, slopes);
  return slopes;
}

}  // namespace

void cuda::batch_norm_forward(const Tensor& x, const Tensor& mean, const Tensor& variance,
                              const Tensor& y, float eps, bool frozen) {
  const char* op = "batch_norm_forward";
  make_batch_norm_shape(op, x, mean, variance);
  check_same_layout(op, x, y);
  if (!frozen) compute_statistics(op, x, mean, variance);
  const LinesLaunch launch = make_lines(op, x, mean, 1);
  DRML_LAUNCH(Context::of(x), batch_norm_forward_kernel, launch.grid, kBlock, 0, launch.lines,
              x.data(), mean.data(), variance.data(), eps, y.data());
}

void cuda::batch_norm_backward(const Tensor& x, const Tensor& mean, const Tensor& variance,
                               const Tensor& dy, const Tensor& dx, float eps, bool frozen) {
  const char* op = "batch_norm_backward";
  make_batch_norm_shape(op, x, mean, variance);
  check_same_layout(op, x, dy);
  check_same_layout(op, x, dx);
  const LinesLaunch launch = make_lines(op, x, mean, 1);
  if (frozen) {
    DRML_LAUNCH(Context::of(x), batch_norm_backward_frozen_kernel, launch.grid, kBlock, 0,
                launch.lines, variance.data(), dy.data(), eps, dx.data());
    return;
  }
  const BatchNormSlope* slopes = compute_slopes(op, x, mean, variance, dy, eps);
  DRML_LAUNCH(Context::of(x), batch_norm_backward_kernel, launch.grid, kBlock, 0, launch.lines,
              x.data(), mean.data(), variance.data(), slopes, dy.data(), eps, dx.data());
}

}  // namespace drml
