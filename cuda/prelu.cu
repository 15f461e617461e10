// PReLU: a slope for negative x that is learned, one per channel or one for all.
#include "cuda/broadcast.h"
#include "cuda/context.h"
#include "cuda/prelu_kernel.cuh"
#include "ops.h"
#include "prelu_shape.h"

namespace drml {
namespace {

void add_slope_gradient(const char* op, const Tensor& x, const Tensor& dy, const Tensor& dslope) {
  cuda::Context& context = cuda::Context::of(x);
  const cuda::GroupsLaunch launch = cuda::make_groups(op, x, dslope, 1);
  auto* partial = reinterpret_cast<float2*>(
      context.scratch(launch.partials * static_cast<int64_t>(sizeof(float2))));
  if (launch.by_block) {
    DRML_LAUNCH(context, (cuda::prelu_sums_kernel<true>), launch.grid, launch.block, 0,
                launch.groups, x.data(), dy.data(), partial);
  } else {
    DRML_LAUNCH(context, (cuda::prelu_sums_kernel<false>), launch.grid, launch.block, 0,
                launch.groups, x.data(), dy.data(), partial);
  }
  DRML_LAUNCH(context, cuda::prelu_add_sums_kernel, launch.grid_parts, cuda::kBlock, 0,
              launch.groups, partial, dslope.data());
}

}  // namespace

void cuda::prelu_forward(const Tensor& x, const Tensor& slope, const Tensor& y) {
  const char* op = "prelu_forward";
  check_prelu_forward(op, x, slope, y);
  if (x.size() == 0) return;
  const LinesLaunch launch = make_lines(op, x, slope, 1);
  DRML_LAUNCH(Context::of(x), prelu_forward_kernel, launch.grid, kBlock, 0, launch.lines, x.data(),
              slope.data(), y.data());
}

void cuda::prelu_backward(const Tensor& x, const Tensor& slope, const Tensor& dy, const Tensor* dx,
                          const Tensor* dslope) {
  const char* op = "prelu_backward";
  check_prelu_backward(op, x, slope, dy, dx, dslope);
  if (x.size() == 0) return;
  // The sums come first: dx may be the memory of dy.
  if (dslope != nullptr) add_slope_gradient(op, x, dy, *dslope);
  if (dx == nullptr) return;
  const LinesLaunch launch = make_lines(op, x, slope, 1);
  DRML_LAUNCH(Context::of(x), prelu_backward_kernel, launch.grid, kBlock, 0, launch.lines, x.data(),
              slope.data(), dy.data(), dx->data());
}

}  // namespace drml
